package gogzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// writeCut writes data to z in pieces that end at cuts, and closes z.
func writeCut(t testing.TB, z io.WriteCloser, data []byte, cuts []int) {
	t.Helper()
	from := 0
	for _, to := range append(cuts, len(data)) {
		to = max(from, min(to, len(data)))
		if n, err := z.Write(data[from:to]); err != nil || n != to-from {
			t.Fatalf("writing %d bytes: %d, %v", to-from, n, err)
		}
		from = to
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkSame compares compress/gzip's output for data with that of own, which writes
// to got.
func checkSame(t testing.TB, own *Writer, got *bytes.Buffer, data []byte, cuts []int) {
	t.Helper()
	var want bytes.Buffer
	writeCut(t, gzip.NewWriter(&want), data, cuts)
	writeCut(t, own, data, cuts)
	if bytes.Equal(want.Bytes(), got.Bytes()) {
		return
	}
	i := 0
	for i < min(want.Len(), got.Len()) && want.Bytes()[i] == got.Bytes()[i] {
		i++
	}
	t.Fatalf("%d bytes in %d Writes: byte %d differs from compress/gzip's (%d bytes instead of %d)",
		len(data), len(cuts)+1, i, got.Len(), want.Len())
}

// checkShape compares both for the stream that seed and recipe describe.
func checkShape(t testing.TB, seed uint64, recipe []byte) int {
	s := &shaper{Rand: rand.New(rand.NewPCG(seed, 1))}
	size := s.IntN(s.pick(1000, window, 3*window, 12*window, 12*window, 12*window))
	if s.IntN(4) == 0 {
		size = s.around(size/window*window, lookahead+4)
	}
	var got bytes.Buffer
	checkSame(t, NewWriter(&got), &got, shape(seed, recipe, size), s.cuts(size))
	return size
}

func FuzzSameBytes(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, []byte{})
	}
	f.Fuzz(func(t *testing.T, seed uint64, recipe []byte) { checkShape(t, seed, recipe) })
}

// TestSameBytesForLong is FuzzSameBytes without instrumentation, for as long as
// SX_TEST_GOGZIP says ("40m").
func TestSameBytesForLong(t *testing.T) {
	limit, err := time.ParseDuration(os.Getenv("SX_TEST_GOGZIP"))
	if err != nil {
		t.Skip("SX_TEST_GOGZIP is no duration")
	}
	start, seed, size := time.Now(), uint64(time.Now().UnixNano()), 0
	for ; time.Since(start) < limit && !t.Failed(); seed++ {
		t.Run("", func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			size += checkShape(t, seed, nil)
		})
	}
	t.Logf("%d bytes in %v", size, time.Since(start))
}

func TestSameBytesOfFiles(t *testing.T) {
	for name, data := range corpus(t, 3<<20) {
		t.Run(name, func(t *testing.T) {
			var cuts []int
			for at := 32 << 10; at < len(data); at += 32 << 10 {
				cuts = append(cuts, at)
			}
			var got bytes.Buffer
			checkSame(t, NewWriter(&got), &got, data, cuts)
		})
	}
}

// Many small streams, in some of which two of the three forms of a block have the
// same size.
func TestSameBytesOfSmallStreams(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for seed := range uint64(2000) {
		var got bytes.Buffer
		checkSame(t, NewWriter(&got), &got, shape(seed, nil, r.IntN(120)), nil)
	}
}

// Streams that repeat bytes from nearly a window back, in Writes that end near the
// borders at which the standard library moves its window.
func TestSameBytesAroundBorders(t *testing.T) {
	for seed := range uint64(80) {
		s := &shaper{Rand: rand.New(rand.NewPCG(seed, 1))}
		size := s.around((2+s.IntN(3))*window, lookahead+4)
		var got bytes.Buffer
		checkSame(t, NewWriter(&got), &got, shape(seed, []byte{6}, size), s.nearBorders(size))
	}
}

// When the count of positions wraps, after 4 GiB, old positions must not seem near.
func TestSameBytesWhereTheCountWraps(t *testing.T) {
	for seed := range uint64(4) {
		data := shape(seed, []byte{5, 4, 6}, 5*span)
		var got bytes.Buffer
		z := NewWriter(&got)
		z.chains.next = 1<<32 - 2*span
		checkSame(t, z, &got, data, nil)
	}
}
