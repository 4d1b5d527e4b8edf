package gogzip

import "sync"

const (
	window   = 1 << 15             // how far back a match reaches (RFC 1951, 3.2.5)
	span     = 4 * window          // the positions of one segment
	minMatch = 4                   // deflate.go: the smallest match that is emitted
	maxMatch = 258                 // RFC 1951, 3.2.5
	ahead    = minMatch + maxMatch // deflate.go stops that far before the end of what it has, until the stream ends
	capacity = window + span + ahead
	reach    = 1 << 18 // more than capacity, so that a mask spares a check of bounds; what is not used takes no memory
)

// A segment is span bytes of the stream with those that its matches need: a window
// before it, and ahead bytes after. Positions in it are indexes of data, so the
// segment itself begins at window.
type segment struct {
	data [reach + 8]byte
	back [capacity]uint16 // how far before a position the last one of the same hash lies; 0: no further than window
	size int              // how much of data is there; less than capacity only while it is filled, and at the end
	last bool             // the stream ends at size

	// writes has, for the window that ends at (i+2)*window, where the last Write ended
	// that did so in the window's last ahead-1 bytes; 0: none did.
	writes [span / window]int

	lead   []token // the first tokens
	tokens []token // those after lead, but for the first wrong ones
	wrong  int
	out    []byte
	done   chan struct{} // closed when out is complete
}

// segments keeps those that are not in use, for a machine that exports many small
// layers.
var segments = sync.Pool{New: func() any { return &segment{tokens: make([]token, 0, span+1)} }}

// firstSegment returns an empty segment for a stream's beginning.
func firstSegment() *segment {
	s := segments.Get().(*segment)
	s.size, s.last = window, false
	clear(s.writes[:])
	return s
}

// end returns the position that the segment's parse stops at.
func (s *segment) end() int {
	if s.last {
		return s.size
	}
	return window + span
}

// fill appends what fits of p, and returns its length.
func (s *segment) fill(p []byte) int {
	n := copy(s.data[s.size:capacity], p)
	s.size += n
	return n
}

// follow makes s the empty segment after prev: it takes over the bytes and the
// chains that both need.
func (s *segment) follow(prev *segment) {
	copy(s.data[:], prev.data[span:span+window+ahead])
	copy(s.back[:window], prev.back[span:span+window])
	s.size, s.last = window+ahead, false
	clear(s.writes[:])
}

// noteWrite records that a Write ended where the data ends now, and that another one
// begins.
func (s *segment) noteWrite() {
	if i := (s.size-1)/window - 1; i >= 0 && i < len(s.writes) && s.size%window > window-ahead {
		s.writes[i] = s.size
	}
}

// load32 returns four bytes from i on. The compiler makes one load of it, and no
// check: i is less than reach.
func (s *segment) load32(i int) uint32 {
	i &= reach - 1
	return uint32(s.data[i]) | uint32(s.data[i+1])<<8 | uint32(s.data[i+2])<<16 | uint32(s.data[i+3])<<24
}

// load64 is load32 for eight bytes.
func (s *segment) load64(i int) uint64 {
	i &= reach - 1
	return uint64(s.data[i]) | uint64(s.data[i+1])<<8 | uint64(s.data[i+2])<<16 | uint64(s.data[i+3])<<24 |
		uint64(s.data[i+4])<<32 | uint64(s.data[i+5])<<40 | uint64(s.data[i+6])<<48 | uint64(s.data[i+7])<<56
}
