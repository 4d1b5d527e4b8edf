package gogzip

// deflate.go keeps the stream in a buffer of two windows and moves it by one window when
// less than lookahead bytes are left in it. Bytes that were moved out are out of reach,
// although they may lie less than a window back. A border is a multiple of window at
// which the buffer ends; the move precedes the positions in the lookahead bytes before
// it. Two cases depend on where Write calls end, because the move is made when there are
// more bytes to take in:
//
//   - the first of those positions is parsed before the move if the bytes after it are
//     in the buffer, and after the move if a Write ended so near that the parse stopped;
//   - if the stream ends before the border, or at it, only such a Write causes the move.

// border returns the first position from c.at on at which a move may be due that
// c.base does not include.
func (c cursor) border() int {
	end := (c.at/window + 1) * window
	if c.at >= end-lookahead && c.base == end-window {
		end += window
	}
	return end - lookahead
}

// shift returns the base of position c.at, which lies in the lookahead bytes before a
// border.
func (s *segment) shift(c cursor) int {
	end := (c.at/window + 1) * window
	stopped := s.writes[end/window-2] >= c.from+lookahead
	if stopped || c.at > end-lookahead && !s.endsBy(end) {
		return end - window
	}
	return c.base
}

// endsBy reports whether the stream ends before border, or at it.
func (s *segment) endsBy(border int) bool { return s.last && s.size <= border }
