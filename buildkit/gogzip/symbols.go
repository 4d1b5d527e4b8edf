package gogzip

import "math/bits"

// The symbols of lengths and distances and the extra bits that follow them (RFC
// 1951, 3.2.5).

// A lengthSymbol stands for the lengths from base on, which its extra bits
// distinguish. Lengths are less 3.
type lengthSymbol struct {
	symbol uint16
	base   uint8
	extra  uint8
}

var lengthSymbols = makeLengthSymbols()

func makeLengthSymbols() (out [256]lengthSymbol) {
	base := 0
	for symbol := range 28 {
		extra := max(0, symbol/4-1)
		for length := base; length < base+1<<extra && length < 255; length++ {
			out[length] = lengthSymbol{uint16(endOfBlock + 1 + symbol), uint8(base), uint8(extra)}
		}
		base += 1 << extra
	}
	out[255] = lengthSymbol{symbol: literals - 1, base: 255}
	return out
}

// lengthExtra returns how many extra bits follow a symbol of a length.
func lengthExtra(symbol int) int {
	if symbol == literals-1 {
		return 0
	}
	return max(0, (symbol-endOfBlock-1)/4-1)
}

// distanceSymbol returns the symbol of a distance less 1.
func distanceSymbol(distance uint32) uint32 {
	if distance < 4 {
		return distance
	}
	n := uint32(bits.Len32(distance)) - 1
	return 2*n + distance>>(n-1)&1
}

// distanceExtra returns how many extra bits follow the symbol of a distance.
func distanceExtra(symbol int) int { return max(symbol, 2)/2 - 1 }

// fixedCodes returns the codes of a block without codes of its own (RFC 1951,
// 3.2.6).
func fixedCodes() (c [literals + 2]code, d [distances]code) {
	for i := range c {
		switch {
		case i < 144:
			c[i].length = 8
		case i < 256:
			c[i].length = 9
		case i < 280:
			c[i].length = 7
		default:
			c[i].length = 8
		}
	}
	assign(c[:])
	for i := range d {
		d[i].length = 5
	}
	assign(d[:])
	return c, d
}

var fixedLiteralCodes, fixedDistanceCodes = fixedCodes()
