package gogzip

// joinWithin is how far into a segment two parses are compared until they agree.
// Most agree after some matches; in a long run of one byte they never do.
const joinWithin = 1 << 13

// guess parses s as if the stream began with it, except that matches may reach back.
// Its base is that of every segment but the first, for which there is no guess.
func (s *segment) guess() cursor {
	var c cursor
	c, s.tokens = s.parse(startOf(0), s.end(), s.tokens[:0])
	return c
}

// join parses s from c on, the true cursor at its beginning, and returns the true
// cursor at its end. guessed is the result of guess: as soon as the true parse has
// the same cursor as the guess at a position, the rest of the guess is right.
func (s *segment) join(c, guessed cursor) cursor {
	other, wrong := startOf(0), 0
	var scratch [4]token
	s.lead = s.lead[:0]
	limit := min(window+joinWithin, s.end())
	for c != other {
		if max(c.at, other.at) >= limit {
			c, s.tokens = s.parse(c, s.end(), s.tokens[:0])
			return c
		}
		if c.at < other.at {
			c, s.lead = s.parse(c, c.at+1, s.lead)
			continue
		}
		var tokens []token
		other, tokens = s.parse(other, other.at+1, scratch[:0])
		wrong += len(tokens)
	}
	s.wrong = wrong
	return guessed
}
