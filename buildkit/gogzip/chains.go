package gogzip

import "encoding/binary"

const (
	hashBits = 17         // deflate.go, hashBits and hashmul: which positions share a chain decides
	hashMul  = 0x1e35a7bd // where the search for a match gives up, and so the bytes
)

// A chainTable finds the chains of a stream, a segment after the other.
//
// heads has the last position of each hash, counted modulo 1<<32. After 4 GiB an old
// one may seem near, but does no harm: all positions of that hash that are in reach
// have been compared before it is, and what it leads to has other bytes.
type chainTable struct {
	heads [1 << hashBits]uint32
	next  uint32 // the count of the next segment's first position
}

// newChainTable counts from more than window, so that no head is in reach.
func newChainTable() *chainTable { return &chainTable{next: 2 * window} }

// link sets back for each position of s that has minMatch bytes. A stream's last
// positions have fewer: they begin no match.
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

// put makes position the last one of the hash of v, and returns how far the one
// before lies back.
func (t *chainTable) put(v, position uint32) uint16 {
	head := &t.heads[v*hashMul>>(32-hashBits)]
	back := position - *head
	*head = position
	if back > window {
		back = 0 // a conditional move, where a jump would be guessed wrong
	}
	return uint16(back)
}
