package gogzip

import (
	"math/rand/v2"
	"slices"
)

// A shaper makes streams that test the limits of the encoder. Each follows the bytes
// of a recipe.
type shaper struct {
	*rand.Rand
	data []byte
}

// shape returns about size bytes. The same arguments give the same bytes.
func shape(seed uint64, recipe []byte, size int) []byte {
	s := &shaper{Rand: rand.New(rand.NewPCG(seed, 0))}
	kinds := []func(n int){s.noise, s.letters, s.skewed, s.run, s.words,
		s.farCopies, s.period, s.longCopies, s.shortFarCopies, s.mutated}
	only := s.IntN(3 * len(kinds))
	for i := 0; len(s.data) < size; i++ {
		kind := only
		if only >= len(kinds) {
			kind = s.IntN(len(kinds))
		}
		if len(recipe) > 0 {
			kind = int(recipe[i%len(recipe)]) % len(kinds)
		}
		kinds[kind](1 + s.around(s.pick(3, 300, blockTokens, window, 3*window), 64))
	}
	return s.data[:size]
}

func (s *shaper) pick(of ...int) int { return of[s.IntN(len(of))] }

// around returns a number that differs from n by at most by, and is not negative.
func (s *shaper) around(n, by int) int { return max(0, n-by+s.IntN(2*by+1)) }

func (s *shaper) noise(n int) {
	for range n {
		s.data = append(s.data, byte(s.Uint32()))
	}
}

func (s *shaper) letters(n int) {
	alphabet := 1 + s.IntN(8)
	for range n {
		s.data = append(s.data, byte('a'+s.IntN(alphabet)))
	}
}

// skewed makes bytes each of which is about half as frequent as the one before,
// which gives the longest codes.
func (s *shaper) skewed(n int) {
	for range n {
		b := byte(0)
		for b < 40 && s.IntN(8) < 3+s.IntN(2) {
			b++
		}
		s.data = append(s.data, b*7)
	}
}

func (s *shaper) run(n int) {
	b := byte(s.IntN(3))
	for range n {
		s.data = append(s.data, b)
	}
}

func (s *shaper) words(n int) {
	var words [][]byte
	for range 2 + s.IntN(200) {
		w := make([]byte, 1+s.IntN(12))
		for i := range w {
			w[i] = byte('a' + s.IntN(20))
		}
		words = append(words, w)
	}
	for end := len(s.data) + n; len(s.data) < end; {
		s.data = append(append(s.data, words[s.IntN(len(words))]...), ' ')
	}
}

// repeat appends n bytes from distance before the end, or fewer if there are fewer.
func (s *shaper) repeat(n, distance int) {
	if distance = min(distance, len(s.data)); distance == 0 {
		return
	}
	for range n {
		s.data = append(s.data, s.data[len(s.data)-distance])
	}
}

// farCopies repeats bytes from about a window back, just within and just out of
// reach, between other bytes.
func (s *shaper) farCopies(n int) {
	for end := len(s.data) + n; len(s.data) < end; {
		s.repeat(s.IntN(40), s.around(s.pick(window, window-lookahead), 270))
		s.noise(s.IntN(4))
	}
}

// period repeats a text of nearly a window for longer than that, so that matches
// cross every border.
func (s *shaper) period(n int) {
	s.noise(s.IntN(2) * window)
	distance := s.around(window-130, 140)
	for end := len(s.data) + 2*n; len(s.data) < end; {
		s.repeat(1+s.IntN(s.pick(5, 30, 300, 600)), distance)
		if s.IntN(3) > 0 {
			s.noise(1)
		}
	}
}

func (s *shaper) longCopies(n int) {
	for end := len(s.data) + n; len(s.data) < end; {
		s.repeat(s.around(s.pick(16, 128, maxMatch, 2*maxMatch), 4), 1+s.IntN(s.pick(8, 600, window)))
		s.noise(s.IntN(3))
	}
}

// shortFarCopies repeats the shortest matches, around the distance from which they
// are not matches any more.
func (s *shaper) shortFarCopies(n int) {
	for end := len(s.data) + n; len(s.data) < end; {
		s.repeat(s.IntN(7), s.around(s.pick(nearEnough, window, 2000), 6))
		s.noise(s.IntN(6))
	}
}

// mutated repeats a part of the stream with some bytes changed, which makes long
// chains of nearly equal strings.
func (s *shaper) mutated(n int) {
	piece := make([]byte, 1+s.IntN(600))
	for i := range piece {
		piece[i] = byte(s.IntN(1 + s.IntN(250)))
	}
	for end := len(s.data) + n; len(s.data) < end; {
		s.data = append(s.data, piece...)
		for range s.IntN(4) {
			piece[s.IntN(len(piece))] = byte(s.Uint32())
		}
	}
}

// cuts returns where a stream of size bytes is divided into Writes: nowhere, at
// random, in equal parts, or near borders.
func (s *shaper) cuts(size int) (out []int) {
	switch s.IntN(5) {
	case 0:
	case 1:
		for at := 0; at < size; at += 1 + s.IntN(s.pick(3, 100, 600, 5000, 100000)) {
			out = append(out, at)
		}
	case 2:
		part := s.pick(512, 4096, 32<<10, 128<<10, 1000, window-1)
		for at := 0; at < size; at += part {
			out = append(out, at)
		}
	default:
		return s.nearBorders(size)
	}
	return out
}

// nearBorders returns cuts near the borders at which the standard library moves its
// window.
func (s *shaper) nearBorders(size int) (out []int) {
	for at := window; at < size+lookahead; at += window {
		for range s.IntN(3) {
			out = append(out, at-s.IntN(lookahead+3))
		}
		for range s.IntN(3) {
			out = append(out, at-s.IntN(s.pick(2, 5, 12)))
		}
	}
	slices.Sort(out)
	return out
}
