package imagediff

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/layer"
)

// Bounds of what is compared byte by byte, in one layer. Beyond them only the hashes are.
const (
	maxLooks   = 20_000
	maxPaths   = 16 << 20 // bytes of their paths: one may have a megabyte
	maxSpilled = 8 << 30  // bytes of contents, on each side
	maxRegions = 64
	around     = 192 // bytes shown to the rules that guess a cause, on each side of a difference
)

// A look is a pair of files whose contents differ.
type look struct {
	path      string
	seqs      [2]int64
	sums      [2][sha256.Size]byte
	at, sizes [2]int64 // in the spilled contents; at is -1 if it is not there
	detail    *Contents
	cause     string
	skipped   [2]string // why it was not looked at, by side
}

// sideLooks are the looks at the layer of one side, by the numbers of their entries.
type sideLooks struct {
	bySeq map[int64]*look
	side  int
}

// spill copies the contents of l out of a layer into a temporary file, in the order of the tar.
func (l sideLooks) spill(ctx context.Context, blobs Blobs, d oci.Descriptor, tempDir string) (*os.File, error) {
	f, err := TempFile(tempDir)
	if err != nil {
		return nil, &PlaceError{err}
	}
	s, err := layer.Open(ctx, blobs, d)
	if err == nil {
		err = l.spillFrom(s, f)
		s.Close()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (sl sideLooks) spillFrom(s *layer.Stream, f *os.File) error {
	looks, side := sl.bySeq, sl.side
	r, end, left := tar.NewReader(s.Reader), int64(0), len(looks)
	for seq := int64(0); left > 0; seq++ {
		h, err := r.Next()
		if err != nil {
			return layer.EntryError(seq, err)
		}
		l := looks[seq]
		if l == nil {
			continue
		}
		left--
		if l.at[side] = -1; end+h.Size > maxSpilled {
			l.skipped[side] = "the files that differ are too large together"
			continue
		}
		sum := sha256.New()
		out := &localWriter{io.MultiWriter(io.NewOffsetWriter(f, end), sum)}
		n, err := io.Copy(out, struct{ io.Reader }{r})
		if err != nil {
			return layer.EntryError(seq, err)
		}
		if !bytes.Equal(sum.Sum(nil), l.sums[side][:]) {
			return errors.New("it changed while it was read")
		}
		l.at[side], l.sizes[side], end = end, n, end+n
	}
	return nil
}

// localWriter marks errors as this machine's.
type localWriter struct{ io.Writer }

func (w *localWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &PlaceError{err}
	}
	return n, err
}

// A pair is two contents side by side.
type pair struct {
	path string
	a, b *io.SectionReader
}

// A region is a run of bytes that differ.
type region struct{ from, to int64 }

// regions finds the first of them, joining those that are close, and counts the bytes that differ. If the sizes differ,
// there is one region: from the first difference to the common end.
func (p pair) regions() (found []region, differ int64, err error) {
	equal := p.a.Size() == p.b.Size()
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	size := min(p.a.Size(), p.b.Size())
	for at := int64(0); at < size; {
		n := int(min(int64(len(x)), size-at))
		if err := errors.Join(readAt(p.a, x[:n], at), readAt(p.b, y[:n], at)); err != nil {
			return nil, 0, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			for i := range n {
				if x[i] == y[i] {
					continue
				}
				pos := at + int64(i)
				if !equal {
					return []region{{pos, pos + 1}}, 0, nil
				}
				differ++
				found = grow(found, pos)
			}
		}
		at += int64(n)
	}
	if !equal && len(found) == 0 {
		found = []region{{size, size + 1}}
	}
	return found, differ, nil
}

// grow adds a position to the last region if it is close to it.
func grow(found []region, pos int64) []region {
	if n := len(found); n > 0 && pos-found[n-1].to < 16 {
		found[n-1].to = pos + 1
		return found
	}
	if len(found) == maxRegions {
		return found
	}
	return append(found, region{pos, pos + 1})
}

func readAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("reading a temporary file: %w", err)
}

// A window is what stands around a difference.
type window struct {
	path   string
	offset int64 // of the difference in the files
	a, b   []byte
	at     int // of the difference in a and b
}

func (p pair) window(r region) (window, error) {
	from := max(r.from-around, 0)
	w := window{path: p.path, offset: r.from, at: int(r.from - from)}
	var err error
	if w.a, err = cut(p.a, from, r.to+around); err != nil {
		return w, err
	}
	w.b, err = cut(p.b, from, r.to+around)
	return w, err
}

// cut reads from from to to, at most a few kilobytes, as far as the file goes.
func cut(r *io.SectionReader, from, to int64) ([]byte, error) {
	to = min(to, r.Size(), from+4096)
	if to <= from {
		return nil, nil
	}
	b := make([]byte, to-from)
	return b, readAt(r, b, from)
}

// look compares two contents.
func (p pair) look() (*Contents, string, error) {
	found, differ, err := p.regions()
	if err != nil {
		return nil, "", err
	}
	c := &Contents{SizeA: p.a.Size(), SizeB: p.b.Size(), Differ: differ, Regions: len(found)}
	if len(found) == 0 {
		return c, "", errors.New("imagediff: internal error: contents with different hashes are equal")
	}
	c.Offset = found[0].from
	var guesses votes
	for i, r := range found {
		w, err := p.window(r)
		if err != nil {
			return nil, "", err
		}
		if i == 0 {
			c.A, c.B = w.excerpts()
		}
		guesses.add(w.cause())
	}
	if c.Line, err = p.line(c.Offset); err != nil {
		return nil, "", err
	}
	if order, err := p.reordered(); err != nil || order {
		return c, causeHashOrder, err
	}
	return c, guesses.best(), nil
}

// line is the number of the line that holds an offset, if the files begin like text; 0 else.
func (p pair) line(offset int64) (int64, error) {
	if offset > 1<<20 {
		return 0, nil
	}
	for _, r := range []*io.SectionReader{p.a, p.b} {
		head, err := cut(r, 0, 4096)
		if err != nil || !isText(head) {
			return 0, err
		}
	}
	before := make([]byte, offset)
	if err := readAt(p.a, before, 0); err != nil {
		return 0, err
	}
	return int64(bytes.Count(before, []byte("\n"))) + 1, nil
}

// isText says that nothing in b is unusual in text. A character may be cut at its end.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' && r != 0x1b {
			return false
		}
		b = b[n:]
	}
	return true
}

// excerpts show a few bytes from where the windows begin to differ: a line of text, or hexadecimal digits.
func (w window) excerpts() (a, b string) {
	x, y := w.run(w.a), w.run(w.b)
	if len(x)+len(y) > 0 && (len(x) >= 4 || len(y) >= 4) {
		return string(x), string(y)
	}
	const show = 16
	return hexOf(w.a, w.at, show), hexOf(w.b, w.at, show)
}

func hexOf(b []byte, at, n int) string {
	if at >= len(b) {
		return ""
	}
	return "0x" + hex.EncodeToString(b[at:min(at+n, len(b))])
}

// run is the printable text of one line around the difference; empty if there is none.
func (w window) run(b []byte) []byte {
	const most = 80
	printable := func(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }
	at := min(w.at, len(b))
	from, to := at, at
	for from > 0 && at-from < most && printable(b[from-1]) {
		from--
	}
	for to < len(b) && to-at < most && printable(b[to]) {
		to++
	}
	if !isText(bytes.ToValidUTF8(b[from:to], nil)) || !utf8.Valid(trimPartial(b[from:to])) {
		return nil
	}
	return trimPartial(b[from:to])
}

// trimPartial takes off pieces of characters at both ends.
func trimPartial(b []byte) []byte {
	for i := 0; i < utf8.UTFMax-1 && len(b) > 0 && !utf8.RuneStart(b[0]); i++ {
		b = b[1:]
	}
	for i := 0; i < utf8.UTFMax-1 && len(b) > 0; i++ {
		if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	return b
}
