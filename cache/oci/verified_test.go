package oci

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/umoci/pkg/hardening"
)

// What is copied as a whole, and what is copied in parts, fails in the same way.
func TestCopyVerified(t *testing.T) {
	broken := errors.New("broken")
	for _, text := range []string{"", "x", strings.Repeat("x", maxCopy), strings.Repeat("x", maxCopy+1), strings.Repeat("x", 3*maxCopy)} {
		size, d := int64(len(text)), DigestOf([]byte(text))
		for name, c := range map[string]struct {
			r    io.Reader
			d    Digest
			size int64
			want error // of a text that is not empty
		}{
			"whole":        {strings.NewReader(text), d, size, nil},
			"by halves":    {iotest.HalfReader(strings.NewReader(text)), d, size, nil},
			"end at once":  {iotest.DataErrReader(strings.NewReader(text)), d, size, nil},
			"one too many": {strings.NewReader(text + "y"), d, size, hardening.ErrSizeMismatch},
			"another":      {strings.NewReader(text), DigestOf([]byte("another")), size, hardening.ErrDigestMismatch},
			"both":         {strings.NewReader(text + "y"), DigestOf([]byte("another")), size, hardening.ErrDigestMismatch},
			"short":        {strings.NewReader(text[:len(text)/2]), d, size, hardening.ErrDigestMismatch},
			"size":         {strings.NewReader(text), d, size + 1, hardening.ErrSizeMismatch},
			"breaks":       {io.MultiReader(strings.NewReader(text[:len(text)/2]), iotest.ErrReader(broken)), d, size, broken},
			"cut off":      {io.MultiReader(strings.NewReader(text[:len(text)/2]), iotest.ErrReader(io.ErrUnexpectedEOF)), d, size, io.ErrUnexpectedEOF},
			"breaks after": {io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), d, size, nil},
		} {
			var got bytes.Buffer
			err := CopyVerified(&got, c.r, c.d, c.size)
			if text == "" && (name == "short" || name == "breaks" || name == "cut off") {
				c.want = nil
			}
			damaged := errors.As(err, new(*DamagedError))
			wantDamaged := c.want == hardening.ErrSizeMismatch || c.want == hardening.ErrDigestMismatch
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || damaged != wantDamaged {
				t.Errorf("%d bytes, %s: got %v, want %v", size, name, err, c.want)
			}
			if err == nil && got.String() != text {
				t.Errorf("%d bytes, %s: it copied %d bytes", size, name, got.Len())
			}
		}
		if err := CopyVerified(iotest.TruncateWriter(io.Discard, 0), strings.NewReader(text), d, size); err != nil {
			t.Error(err)
		}
	}
	if err := CopyVerified(io.Discard, strings.NewReader("x"), DigestOf([]byte("x")), -1); err == nil {
		t.Error("a negative size")
	}
}

func BenchmarkCopyVerified(b *testing.B) {
	data := bytes.Repeat([]byte("x"), 300)
	d := DigestOf(data)
	b.ReportAllocs()
	for b.Loop() {
		if err := CopyVerified(io.Discard, bytes.NewReader(data), d, 300); err != nil {
			b.Fatal(err)
		}
	}
}
