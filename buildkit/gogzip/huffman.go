package gogzip

import (
	"math/bits"
	"slices"
)

const (
	endOfBlock   = 256
	literals     = 286 // literals, endOfBlock and lengths (RFC 1951, 3.2.5)
	distances    = 30
	lengthCodes  = 19 // RFC 1951, 3.2.7
	longestCode  = 15
	longestShort = 7 // of the code for lengths
)

// A code is the Huffman code of a symbol, in the order of bits of a stream. Its
// length is 0 if the symbol has none.
type code struct {
	bits   uint16
	length uint8
}

// A codeBuilder makes codes. It reuses its arrays.
type codeBuilder struct {
	leaves  []uint32 // frequency<<9 | symbol, ascending
	weights [2][]uint32
	// taken has, for each level of the package merge, how many of its first items are
	// leaves.
	taken [longestCode + 1][2 * literals]uint16
}

// build gives each symbol that occurs a code of at most longest bits, such that the
// whole is the shortest. Among several such codes it chooses that of
// huffman_code.go.
func (b *codeBuilder) build(codes []code, frequencies []uint32, longest int) {
	clear(codes)
	b.leaves = b.leaves[:0]
	for symbol, f := range frequencies {
		if f != 0 {
			b.leaves = append(b.leaves, f<<9|uint32(symbol))
		}
	}
	if len(b.leaves) <= 2 {
		for i, leaf := range b.leaves {
			codes[leaf&(1<<9-1)] = code{uint16(i), 1}
		}
		return
	}
	slices.Sort(b.leaves)
	b.measure(codes, min(longest, len(b.leaves)-1))
	assign(codes)
}

// measure sets the lengths by the package-merge algorithm (Larmore and Hirschberg,
// 1990). Items of equal weight have the order of huffman_code.go, bitCounts: a
// package before a leaf, and leaves by symbol.
func (b *codeBuilder) measure(codes []code, longest int) {
	n := len(b.leaves)
	below := b.weights[0][:0]
	for i, leaf := range b.leaves {
		below = append(below, leaf>>9)
		b.taken[1][i] = uint16(i + 1)
	}
	b.weights[0] = below
	top := 1
	for top < longest {
		merged := b.merge(b.weights[top&1][:0], below, &b.taken[top+1])
		b.weights[top&1] = merged
		top++
		if slices.Equal(merged, below) {
			break // the levels above have the same items
		}
		below = merged
	}
	// Of the top level 2n-2 items are used, and of each level below those in the
	// packages of the level above. The length of a leaf is how often it is used.
	for used, level := 2*n-2, longest; level > 0 && used > 0; level-- {
		leaves := int(b.taken[min(level, top)][used-1])
		for _, leaf := range b.leaves[:leaves] {
			codes[leaf&(1<<9-1)].length++
		}
		used = 2 * (used - leaves)
	}
}

// merge appends to out, in ascending order, the leaves and the packages of two
// neighbours of below.
func (b *codeBuilder) merge(out, below []uint32, taken *[2 * literals]uint16) []uint32 {
	leaf := 0
	for len(out) < 2*len(b.leaves)-2 {
		next := 2 * (len(out) - leaf)
		isPackage := next+1 < len(below)
		switch {
		case leaf < len(b.leaves) && (!isPackage || b.leaves[leaf]>>9 < below[next]+below[next+1]):
			out = append(out, b.leaves[leaf]>>9)
			leaf++
		case isPackage:
			out = append(out, below[next]+below[next+1])
		default:
			return out
		}
		taken[len(out)-1] = uint16(leaf)
	}
	return out
}

// assign sets the bits of codes by their lengths (RFC 1951, 3.2.2).
func assign(codes []code) {
	var next [longestCode + 2]uint16
	for _, c := range codes {
		if c.length > 0 {
			next[c.length+1]++
		}
	}
	for i := 1; i < len(next); i++ {
		next[i] = (next[i-1] + next[i]) << 1
	}
	for i := range codes {
		if length := codes[i].length; length > 0 {
			codes[i].bits = bits.Reverse16(next[length] << (16 - length))
			next[length]++
		}
	}
}
