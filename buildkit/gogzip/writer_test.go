package gogzip

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
)

// A failing writer accepts some bytes, and then returns an error.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestErrorOfTheUnderlyingWriterStays(t *testing.T) {
	want := errors.New("disk full")
	data := shape(1, []byte{0}, 20*span)
	for _, left := range []int{0, 5, len(header), span, 10 * span} {
		z := NewWriter(&failing{left, want})
		_, err := z.Write(data)
		if left < 10*span && err != want {
			t.Errorf("after %d bytes: Write returns %v", left, err)
		}
		if err := z.Close(); err != want {
			t.Errorf("after %d bytes: Close returns %v", left, err)
		}
		if _, err := z.Write(data); err != want {
			t.Errorf("after %d bytes: Write after Close returns %v", left, err)
		}
	}
}

func TestClosedWriter(t *testing.T) {
	var b bytes.Buffer
	z := NewWriter(&b)
	for range 2 {
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	size := b.Len()
	if _, err := z.Write([]byte("x")); err == nil || b.Len() != size {
		t.Errorf("a closed writer takes bytes: %v", err)
	}
}

// A caller may drop a Writer without closing it.
func TestNothingRunsAfterAnAbandonedWriter(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		z := NewWriter(io.Discard)
		if _, err := z.Write(make([]byte, 6*span)); err != nil {
			t.Fatal(err)
		}
		for _, s := range z.running {
			<-s.done
		}
	}
	for runtime.NumGoroutine() > before {
		runtime.Gosched() // a goroutine ends right after done
	}
}

func TestMemoryDoesNotGrowWithTheStream(t *testing.T) {
	const limit = 32 << 20
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	z := NewWriter(io.Discard)
	data := shape(1, []byte{0, 4, 3}, 4*span)
	for range 24 {
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&now)
		if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > limit {
			t.Fatalf("a writer holds %d bytes", grown)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}
