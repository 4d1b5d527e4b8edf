package gogzip

import (
	"slices"
	"testing"
)

// segmentsOf calls f with each segment of data, linked.
func segmentsOf(data []byte, f func(s *segment)) {
	chains, s := newChainTable(), firstSegment()
	for {
		data = data[s.fill(data):]
		s.last = len(data) == 0
		chains.link(s)
		if f(s); s.last {
			return
		}
		following := &segment{}
		following.follow(s)
		s = following
	}
}

// TestJoinIsTheTrueParse checks that a guess and join give the same as a parse from the
// true cursor.
func TestJoinIsTheTrueParse(t *testing.T) {
	joined := 0
	for seed := range uint64(20) {
		c := startOf(window)
		segmentsOf(shape(seed, nil, int(4*span+lookahead+seed*seed*3)), func(s *segment) {
			next, want := s.parse(c, s.end(), nil)
			if c.at > window || c.base != window { // not the first
				s.wrong = 0
				got := s.join(c, s.guess())
				if got != next || !slices.Equal(slices.Concat(s.lead, s.tokens[s.wrong:]), want) {
					t.Fatalf("seed %d: the parse that was joined differs", seed)
				}
				if s.wrong > 0 {
					joined++
				}
			}
			shift := coder{cursor: next}
			shift.next()
			c = shift.cursor
		})
	}
	if joined < 20 {
		t.Errorf("only %d segments were joined", joined)
	}
}
