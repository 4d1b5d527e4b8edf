package gogzip

import "encoding/binary"

const (
	hashBits = 17         // deflate.go, hashBits and hashmul: they decide which positions share a chain,
	hashMul  = 0x1e35a7bd // and so where the search for a match ends
)

// A chainTable finds the chains of a stream, one segment after the other.
//
// heads has the last position of each hash, counted modulo 1<<32. After 4 GiB an old
// position may seem near. This does no harm: all positions of that hash within reach are
// compared before it, and its own bytes differ.
type chainTable struct {
	heads [1 << hashBits]uint32
	next  uint32 // the count of the next segment's first position
}

// newChainTable starts counting above window, so that no empty head is within reach.
func newChainTable() *chainTable { return &chainTable{next: 2 * window} }

// link sets back for each position of s with minMatch bytes after it. The last
// positions of a stream have fewer: no match begins there.
func (t *chainTable) link(s *segment) {
	end := min(s.end(), s.size-(minMatch-1))
	base := t.next - window
	i := window
	for ; i+4 <= end; i += 4 {
		x := binary.BigEndian.Uint64(s.data[i:])
		b := s.back[i : i+4 : i+4]
		b[0] = t.put(uint32(x>>32), base+uint32(i))
		b[1] = t.put(uint32(x>>24), base+uint32(i+1))
		b[2] = t.put(uint32(x>>16), base+uint32(i+2))
		b[3] = t.put(uint32(x>>8), base+uint32(i+3))
	}
	for ; i < end; i++ {
		s.back[i] = t.put(binary.BigEndian.Uint32(s.data[i:]), base+uint32(i))
	}
	clear(s.back[i:])
	t.next += span
}

// put makes position the last one of the hash of v, and returns the distance to the
// one before.
func (t *chainTable) put(v, position uint32) uint16 {
	head := &t.heads[v*hashMul>>(32-hashBits)]
	back := position - *head
	*head = position
	if back > window {
		back = 0 // a conditional move is faster than a jump that is predicted wrong
	}
	return uint16(back)
}
