package gogzip

import "slices"

const blockTokens = 1 << 14 // deflate.go, maxFlateBlockTokens

// mostStored is how many bytes before a position are always in the buffer of the
// standard library. It stores no block that begins before its buffer, and none of
// more than 65535 bytes, but neither happens: with fixed codes a literal takes at
// most a bit more than its byte, and a match of n bytes at least 7(n-1)/3 bits less
// than its bytes. So blockTokens tokens for more than mostStored bytes save more
// than 37,000 bits with their matches and lose less than 17,000 with their literals.
const mostStored = window - lookahead

// The types of a block (RFC 1951, 3.2.3), and the bit that marks the last one.
const (
	lastBlock    = 1
	storedBlock  = 0 << 1
	fixedBlock   = 1 << 1
	dynamicBlock = 2 << 1
)

// A coder writes the blocks of a stream. Segments use it one after the other; its
// positions count from the beginning of the current segment.
type coder struct {
	bitWriter
	cursor cursor
	start  int     // position at which the current block begins
	block  []token // first tokens of the current block, less than blockTokens

	builder       codeBuilder
	literals      [literals]uint32 // how often each symbol is in the block
	distances     [distances]uint32
	literalCodes  [literals]code
	distanceCodes [distances]code
	lengths       lengthsHeader
	lengthBits    [256]longCode
}

func newCoder() *coder {
	return &coder{cursor: startOf(window), start: window, block: make([]token, 0, blockTokens)}
}

// next makes positions count from the beginning of the next segment.
func (c *coder) next() {
	c.cursor.at -= span
	c.cursor.from -= span
	c.cursor.base -= span
	c.start -= span
}

// encode adds tokens, and writes each block that is complete.
func (c *coder) encode(s *segment, tokens []token) {
	for len(tokens) > 0 {
		n := min(blockTokens-len(c.block), len(tokens))
		if n == blockTokens {
			c.writeBlock(s, tokens[:n])
		} else if c.block = append(c.block, tokens[:n]...); len(c.block) == blockTokens {
			c.writeBlock(s, c.block)
			c.block = c.block[:0]
		}
		tokens = tokens[n:]
	}
}

// finish writes the rest, and the empty stored block with which compress/flate ends
// a stream.
func (c *coder) finish(s *segment) {
	if c.cursor.pending {
		c.encode(s, []token{token(s.data[c.cursor.at-1])})
	}
	if len(c.block) > 0 {
		c.writeBlock(s, c.block)
	}
	c.putStored(nil, lastBlock)
	c.align()
}

// writeBlock writes tokens in the smallest of the three forms
// (huffman_bit_writer.go, writeBlock).
func (c *coder) writeBlock(s *segment, tokens []token) {
	start := c.start
	extra := c.count(tokens)
	fixed := 3 + bitsOf(c.literals[:], fixedLiteralCodes[:]) + bitsOf(c.distances[:], fixedDistanceCodes[:]) + extra
	c.builder.build(c.literalCodes[:], c.literals[:], longestCode)
	c.builder.build(c.distanceCodes[:], c.distances[:], longestCode)
	c.lengths.describe(&c.builder, trimmed(c.literalCodes[:]), trimmed(c.distanceCodes[:]))
	dynamic := c.lengths.size() + bitsOf(c.literals[:], c.literalCodes[:]) +
		bitsOf(c.distances[:], c.distanceCodes[:]) + extra
	size := min(fixed, dynamic)
	if n := c.start - start; n <= mostStored && (n+5)*8 < size {
		c.putStored(s.data[start:c.start], 0)
		return
	}
	c.out = slices.Grow(c.out, size/8+16)
	if dynamic < fixed {
		c.lengths.put(&c.bitWriter)
		c.putTokens(tokens, c.literalCodes[:], c.distanceCodes[:])
	} else {
		c.put(fixedBlock, 3)
		c.putTokens(tokens, fixedLiteralCodes[:literals], fixedDistanceCodes[:])
	}
}

// count counts the symbols of tokens, moves start to their end, and returns their
// number of extra bits. If there is no match, the standard library counts one
// distance in every sum.
func (c *coder) count(tokens []token) (extra int) {
	clear(c.literals[:])
	clear(c.distances[:])
	bytes, matches := 0, 0
	for _, t := range tokens {
		if t < isMatch {
			c.literals[t&0xff]++
			continue
		}
		matches++
		length := uint8(t >> lengthShift)
		bytes += int(length) + 2
		c.literals[lengthSymbols[length].symbol]++
		c.distances[distanceSymbol(uint32(t&distanceMask))]++
	}
	c.start += bytes + len(tokens)
	c.literals[endOfBlock]++
	if matches == 0 {
		c.distances[0] = 1
	}
	for symbol, n := range c.distances {
		extra += int(n) * distanceExtra(symbol)
	}
	for symbol := endOfBlock + 1; symbol < literals; symbol++ {
		extra += int(c.literals[symbol]) * lengthExtra(symbol)
	}
	return extra
}

// putStored writes a stored block (RFC 1951, 3.2.4).
func (c *coder) putStored(data []byte, last uint64) {
	c.put(storedBlock|last, 3)
	c.align()
	c.put(uint64(len(data))|uint64(^uint16(len(data)))<<16, 32)
	c.out = append(c.out, data...)
}

// putTokens writes the tokens of a block and its end. Out must have room for them.
func (c *coder) putTokens(tokens []token, literalCodes, distanceCodes []code) {
	for i, l := range lengthSymbols {
		k := literalCodes[l.symbol]
		c.lengthBits[i] = longCode{uint32(k.bits) | uint32(i-int(l.base))<<k.length, uint32(k.length + l.extra)}
	}
	for _, t := range tokens {
		if t < isMatch {
			k := literalCodes[t]
			c.put(uint64(k.bits), uint(k.length))
			continue
		}
		length := c.lengthBits[uint8(t>>lengthShift)]
		distance := uint32(t & distanceMask)
		symbol := distanceSymbol(distance)
		k := distanceCodes[symbol]
		extra := distanceExtra(int(symbol))
		low := uint64(distance) & (1<<extra - 1)
		c.put(uint64(length.bits)|(uint64(k.bits)|low<<k.length)<<length.count, uint(length.count)+uint(k.length)+uint(extra))
	}
	k := literalCodes[endOfBlock]
	c.put(uint64(k.bits), uint(k.length))
}

// A longCode is the code of a length with its extra bits.
type longCode struct{ bits, count uint32 }

// bitsOf returns how many bits the symbols take, given how often each occurs.
func bitsOf(frequencies []uint32, codes []code) (n int) {
	for symbol, f := range frequencies {
		n += int(f) * int(codes[symbol].length)
	}
	return n
}

// trimmed returns codes without the last ones that have no length.
func trimmed(codes []code) []code {
	for codes[len(codes)-1].length == 0 {
		codes = codes[:len(codes)-1]
	}
	return codes
}
