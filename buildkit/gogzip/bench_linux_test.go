package gogzip

import (
	"compress/gzip"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkWriter compares the package with the standard library. On a busy machine
// only the processor time, user-ns/B, is reliable.
func BenchmarkWriter(b *testing.B) {
	writers := map[string]func() io.WriteCloser{
		"go": func() io.WriteCloser { return gzip.NewWriter(io.Discard) },
		"sx": func() io.WriteCloser { return NewWriter(io.Discard) },
	}
	for name, data := range corpus(b, 64<<20) {
		for who, newWriter := range writers {
			b.Run(name+"/"+who, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				before := userTime(b)
				for b.Loop() {
					z := newWriter()
					for rest := data; len(rest) > 0; rest = rest[min(len(rest), 32<<10):] {
						z.Write(rest[:min(len(rest), 32<<10)])
					}
					z.Close()
				}
				b.ReportMetric(float64(userTime(b)-before)/float64(len(data))/float64(b.N), "user-ns/B")
			})
		}
	}
}

func userTime(b *testing.B) int64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano()
}
