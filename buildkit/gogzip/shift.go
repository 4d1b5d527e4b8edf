package gogzip

// deflate.go keeps the stream in a buffer of two windows and moves it by one when
// less than ahead bytes are left in it. What was moved out is out of reach, although
// it may lie less than a window back. A border is a multiple of window at which the
// buffer ends; positions in the ahead bytes before it are reached after the move.
// Two cases depend on where Write calls end, because the move is made when there are
// more bytes to take in:
//
//   - the first of those positions is looked at before the move if the bytes after it
//     are there, and after it if a Write ended so near that the parse had to stop;
//   - if the stream ends before the border, or at it, only such a Write makes the move
//     happen at all.

// border returns the first position from c.at on where a move may be due that c.base
// does not know of.
func (c cursor) border() int {
	end := (c.at/window + 1) * window
	if c.at >= end-ahead && c.base == end-window {
		end += window
	}
	return end - ahead
}

// shift returns the base of position c.at, which lies in the ahead bytes before a
// border.
func (s *segment) shift(c cursor) int {
	end := (c.at/window + 1) * window
	stopped := s.writes[end/window-2] >= c.from+ahead
	if stopped || c.at > end-ahead && !s.endsBy(end) {
		return end - window
	}
	return c.base
}

// endsBy reports that the stream ends before border, or at it.
func (s *segment) endsBy(border int) bool { return s.last && s.size <= border }
