package gogzip

import "math/bits"

// The parameters of level 6 in deflate.go. The fourth, good, has no effect: a search
// begins with a shorter match than that.
const (
	lazyLength = 16   // after a match that long the next position is not searched
	niceLength = 128  // a match that long ends the search
	chainTries = 128  // how many positions of a chain are compared
	nearEnough = 4096 // a match of minMatch bytes may not lie further back
)

const none = minMatch - 1 // the length of no match

// A token is a literal byte, or a match: isMatch, its length-3 and its distance-1.
type token uint32

const (
	isMatch      token = 1 << 31
	lengthShift        = 16
	distanceMask       = 1<<lengthShift - 1
)

func match(length, distance int) token {
	return isMatch | token(length-3)<<lengthShift | token(distance-1)
}

// A cursor is the state of a parse between two positions. Parses with equal cursors
// continue alike.
type cursor struct {
	at       int  // the next position
	from     int  // the position before
	length   int  // of the match that begins at at-1, or none
	distance int  // of that match
	pending  bool // the byte at at-1 is in no token yet
	base     int  // no match reaches further back
}

// startOf returns the cursor of a parse that begins with a segment.
func startOf(base int) cursor { return cursor{at: window, from: window, length: none, base: base} }

// parse parses the positions from c.at to end, appends their tokens to out and
// returns the cursor at the end. It emits a match unless the match that begins at
// the next byte is longer (deflate.go, deflate).
func (s *segment) parse(c cursor, end int, out []token) (cursor, []token) {
	border := c.border()
	for c.at < end {
		if c.at >= border {
			c.base = s.shift(c)
			border = max(c.border(), c.at+1)
		}
		c, out = s.run(c, min(end, border), out)
	}
	return c, out
}

// run is parse between two borders.
func (s *segment) run(c cursor, end int, out []token) (cursor, []token) {
	at, from, length, distance, pending, base := c.at, c.from, c.length, c.distance, c.pending, c.base
	for at < end {
		from = at
		n, d := none, 0
		if length < lazyLength && s.back[at] != 0 {
			n, d = s.search(at, max(at-window, base), length)
		}
		if length > none && n == none {
			out = append(out, match(length, distance))
			at += length - 1
			length, distance, pending = none, 0, false
			continue
		}
		if pending {
			out = append(out, token(s.data[at-1]))
		}
		at++
		length, distance, pending = n, d, true
	}
	return cursor{at, from, length, distance, pending, base}, out
}

// search returns the first of the longest matches at position at that are longer
// than length and reach back to floor at most, or none. deflate.go, findMatch, also
// finds shorter ones, but its caller drops matches that are not longer than the one
// before.
func (s *segment) search(at, floor, length int) (int, int) {
	most := min(maxMatch, s.size-at)
	if most <= length {
		return none, 0
	}
	found, distance := none, 0
	nice := min(niceLength, most)
	tail := s.load32(at + length - none)
	i := at
	for range chainTries {
		back := int(s.back[i])
		i -= back
		if back == 0 || i < floor {
			break
		}
		if s.load32(i+length-none) != tail {
			continue
		}
		n := s.common(i, at, most)
		if n <= length || n == minMatch && at-i > nearEnough {
			continue
		}
		found, distance, length = n, at-i, n
		if n >= nice {
			break
		}
		tail = s.load32(at + n - none)
	}
	return found, distance
}

// common returns how many bytes from a and from b on are equal, at most most.
func (s *segment) common(a, b, most int) int {
	for n := 0; n < most; n += 8 {
		if x := s.load64(a+n) ^ s.load64(b+n); x != 0 {
			return min(n+bits.TrailingZeros64(x)/8, most)
		}
	}
	return most
}
