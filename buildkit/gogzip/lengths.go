package gogzip

// The symbols that repeat a length (RFC 1951, 3.2.7).
const (
	repeatLength = 16 // 3 to 6 times, in 2 bits
	repeatZero   = 17 // 3 to 10 times, in 3 bits
	repeatZeros  = 18 // 11 to 138 times, in 7 bits
)

// lengthOrder is the order in which the lengths of the codes for lengths are
// written.
var lengthOrder = [lengthCodes]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

var repeatBits = [lengthCodes]uint8{repeatLength: 2, repeatZero: 3, repeatZeros: 7}

// A lengthsHeader is the beginning of a dynamic block: the lengths of its codes,
// themselves coded.
type lengthsHeader struct {
	literals, distances int
	symbols             []lengthsSymbol
	frequencies         [lengthCodes]uint32
	codes               [lengthCodes]code
}

// A lengthsSymbol is a length, or one of the symbols that repeat one and the number
// in its extra bits.
type lengthsSymbol struct{ symbol, extra uint8 }

// describe makes h the header for the two codes.
func (h *lengthsHeader) describe(b *codeBuilder, literalCodes, distanceCodes []code) {
	h.literals, h.distances = len(literalCodes), len(distanceCodes)
	h.symbols = h.symbols[:0]
	clear(h.frequencies[:])
	at := func(i int) uint8 {
		if i < len(literalCodes) {
			return literalCodes[i].length
		}
		return distanceCodes[i-len(literalCodes)].length
	}
	for i, n := 0, len(literalCodes)+len(distanceCodes); i < n; {
		run := 1
		for i+run < n && at(i+run) == at(i) {
			run++
		}
		h.addRun(at(i), run)
		i += run
	}
	b.build(h.codes[:], h.frequencies[:], longestShort)
}

// addRun adds run equal lengths, with the repetitions that huffman_bit_writer.go,
// generateCodegen, chooses.
func (h *lengthsHeader) addRun(length uint8, run int) {
	if length != 0 {
		h.add(length, 0)
		for run--; run >= 3; run -= min(run, 6) {
			h.add(repeatLength, min(run, 6)-3)
		}
	} else {
		for ; run >= 11; run -= min(run, 138) {
			h.add(repeatZeros, min(run, 138)-11)
		}
		if run >= 3 {
			h.add(repeatZero, run-3)
			run = 0
		}
	}
	for range run {
		h.add(length, 0)
	}
}

func (h *lengthsHeader) add(symbol uint8, extra int) {
	h.symbols = append(h.symbols, lengthsSymbol{symbol, uint8(extra)})
	h.frequencies[symbol]++
}

// described returns how many of lengthOrder are written.
func (h *lengthsHeader) described() int {
	n := lengthCodes
	for n > 4 && h.frequencies[lengthOrder[n-1]] == 0 {
		n--
	}
	return n
}

// size returns how many bits put writes.
func (h *lengthsHeader) size() int {
	n := 3 + 5 + 5 + 4 + 3*h.described()
	for symbol, f := range h.frequencies {
		n += int(f) * int(h.codes[symbol].length+repeatBits[symbol])
	}
	return n
}

// put writes the type of the block and the header.
func (h *lengthsHeader) put(w *bitWriter) {
	w.put(dynamicBlock, 3)
	w.put(uint64(h.literals-257), 5)
	w.put(uint64(h.distances-1), 5)
	w.put(uint64(h.described()-4), 4)
	for _, symbol := range lengthOrder[:h.described()] {
		w.put(uint64(h.codes[symbol].length), 3)
	}
	for _, s := range h.symbols {
		k := h.codes[s.symbol]
		w.put(uint64(k.bits), uint(k.length))
		w.put(uint64(s.extra), uint(repeatBits[s.symbol]))
	}
}
