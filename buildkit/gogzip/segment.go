package gogzip

import "sync"

const (
	window    = 1 << 15             // how far back a match reaches (RFC 1951, 3.2.5)
	span      = 4 * window          // the positions of one segment
	minMatch  = 4                   // deflate.go: the smallest match that is emitted
	maxMatch  = 258                 // RFC 1951, 3.2.5
	lookahead = minMatch + maxMatch // deflate.go stops so far before the end of its buffer, until the stream ends
	capacity  = window + span + lookahead
	reach     = 1 << 18 // more than capacity, so that a mask replaces a check of bounds; unused pages take no memory
)

// A segment is span bytes of the stream, with the bytes that its matches need: a
// window before it, and lookahead bytes after it. Positions are indexes of data, so
// the segment itself begins at window.
type segment struct {
	data [reach + 8]byte
	back [capacity]uint16 // distance from a position to the last one before it with the same hash; 0 if there is none in the window
	size int              // bytes in data; less than capacity while it is filled, and at the end of the stream
	last bool             // the stream ends at size

	// writes has, for the window that ends at (i+2)*window, where the last Write
	// ended in the window's last lookahead-1 bytes; 0 if none did.
	writes [span / window]int

	lead   []token // the first tokens
	tokens []token // the tokens after lead, once the wrong ones at their beginning are cut off
	wrong  int
	out    []byte
	done   chan struct{} // closed when out is complete
}

// segments keeps unused segments, for a machine that exports many small layers.
var segments = sync.Pool{New: func() any { return &segment{tokens: make([]token, 0, span+1)} }}

// firstSegment returns an empty segment for a stream's beginning.
func firstSegment() *segment {
	s := segments.Get().(*segment)
	s.size, s.last = window, false
	clear(s.writes[:])
	return s
}

// end returns the position at which the segment's parse stops.
func (s *segment) end() int {
	if s.last {
		return s.size
	}
	return window + span
}

// fill appends as much of p as fits, and returns the length of that.
func (s *segment) fill(p []byte) int {
	n := copy(s.data[s.size:capacity], p)
	s.size += n
	return n
}

// follow makes s the empty segment after prev, with the bytes and the chains that
// both need.
func (s *segment) follow(prev *segment) {
	copy(s.data[:], prev.data[span:span+window+lookahead])
	copy(s.back[:window], prev.back[span:span+window])
	s.size, s.last = window+lookahead, false
	clear(s.writes[:])
}

// noteWrite records that a Write ended at the end of the data, and that another one
// begins.
func (s *segment) noteWrite() {
	if i := (s.size-1)/window - 1; i >= 0 && i < len(s.writes) && s.size%window > window-lookahead {
		s.writes[i] = s.size
	}
}

// load32 returns four bytes from i on. The compiler makes one load of it without a
// check of bounds: i is less than reach.
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
