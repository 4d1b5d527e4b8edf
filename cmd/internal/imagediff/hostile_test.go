package imagediff_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
)

const evil = "\x1b[2J</code><script>alert(1)</script>\n::error::\u202e##[x]"

// No printer passes on what moves the cursor, opens an element, or speaks to CI; JSON keeps the bytes.
func TestPrintersEscape(t *testing.T) {
	a, b := base(), base()
	b.layers[0][4] = regular("etc/a", evil)
	b.layers[0] = append(b.layers[0], regular(evil, "x"), regular("\xff\xfe", "x"), link("l", evil))
	b.annotations[evil] = evil
	b.layers[0][2].Linkname = evil
	b.layers[0][5].PAXRecords = map[string]string{"SCHILY.xattr.user.x": evil}
	x, y := a.image(t, evil), b.image(t, evil)
	for name, p := range map[string]func(io.Writer) imagediff.Printer{
		"text": func(w io.Writer) imagediff.Printer { return imagediff.NewText(w) },
		"html": func(w io.Writer) imagediff.Printer { return imagediff.NewHTML(w) },
		"json": func(w io.Writer) imagediff.Printer { return imagediff.NewJSON(w) },
	} {
		var out strings.Builder
		show(t, p(&out), x, y)
		for _, r := range out.String() {
			if r != '\n' && unicode.IsControl(r) || name != "json" && r == '\u202e' {
				t.Errorf("%s: it prints %U", name, r)
			}
		}
		if name == "html" && strings.Contains(out.String(), "<script") {
			t.Error("the page has a script")
		}
		if name == "text" {
			for line := range strings.SplitSeq(out.String(), "\n") {
				if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
					t.Errorf("a CI command: %s", line)
				}
			}
		}
		if name == "json" {
			var doc struct{ Differences []imagediff.Difference }
			if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
				t.Fatal(err)
			}
			paths := map[string]bool{}
			for _, d := range doc.Differences {
				paths[d.Path], paths[string(d.Raw)] = true, true
			}
			if !paths[evil] || !paths["\xff\xfe"] {
				t.Errorf("JSON has not the names: %v", paths)
			}
		}
	}
}

func show(t *testing.T, p imagediff.Printer, x, y imagediff.Image) {
	t.Helper()
	err := p.Begin(x, y)
	sum, err2 := imagediff.Compare(context.Background(), x, y, imagediff.Options{TempDir: t.TempDir()}, p.Difference)
	if err := errors.Join(err, err2, p.End(sum)); err != nil {
		t.Fatal(err)
	}
}

// What is not what its digest says is an error, and no difference is told of it.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(b blobs, m oci.Descriptor, layer oci.Descriptor){
		"layer flipped": func(b blobs, _, l oci.Descriptor) { b[l.Digest] = flipped(b[l.Digest]) },
		"layer cut":     func(b blobs, _, l oci.Descriptor) { b[l.Digest] = b[l.Digest][:l.Size/2] },
		"layer longer":  func(b blobs, _, l oci.Descriptor) { b[l.Digest] = append(bytes.Clone(b[l.Digest]), 0) },
		"layer missing": func(b blobs, _, l oci.Descriptor) { delete(b, l.Digest) },
		"manifest":      func(b blobs, m, _ oci.Descriptor) { b[m.Digest] = flipped(b[m.Digest]) },
	} {
		t.Run(name, func(t *testing.T) {
			m := base()
			m.layers[0][4] = regular("etc/a", "other")
			x, y := base().image(t, "first"), m.image(t, "second")
			b := y.Blobs.(blobs)
			var doc struct{ Layers []oci.Descriptor }
			if err := json.Unmarshal(b[y.Root.Digest], &doc); err != nil {
				t.Fatal(err)
			}
			damage(b, y.Root, doc.Layers[0])
			told := 0
			_, err := imagediff.Compare(context.Background(), x, y, imagediff.Options{TempDir: t.TempDir()}, func(imagediff.Difference) error {
				told++
				return nil
			})
			var bad *imagediff.ImageError
			if !errors.As(err, &bad) || bad.Name != "second" || told > 0 {
				t.Errorf("got %v after %d differences, want an error about the second", err, told)
			}
		})
	}
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// An entry that claims terabytes is refused before they are read.
func TestSparseBomb(t *testing.T) {
	m := base()
	plain := sparseTar(t, 1<<44)
	m.pack = func([]byte) []byte { return plain }
	_, err := imagediff.Compare(context.Background(), base().image(t, "a"), m.image(t, "b"), imagediff.Options{TempDir: t.TempDir()},
		func(imagediff.Difference) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "more than 64 GiB") {
		t.Errorf("got %v", err)
	}
}

// sparseTar is a GNU 1.0 sparse file of one hole.
func sparseTar(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	records := fmt.Appendf(nil, "1\n%d\n0\n", size)
	content := append(records, make([]byte, 512-len(records))...)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/x", Size: int64(len(content)), Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"VENDOR.sparse.major": "1", "VENDOR.sparse.minor": "0", "VENDOR.sparse.name": "x", "VENDOR.sparse.realsize": fmt.Sprint(size),
		}},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// archive/tar writes no sparse files: the vendor's name has not the length of GNU's, which the records say.
	out := b.Bytes()
	for _, name := range []string{"major", "minor", "name", "realsize"} {
		out = bytes.Replace(out, []byte("VENDOR.sparse."+name), []byte("GNU.sparse."+name), 1)
	}
	return fixRecords(out, len(b.Bytes())-len(out))
}

// fixRecords writes the lengths of PAX records anew, which are a block less the bytes that were taken off, and the size
// and sum of the header before them.
func fixRecords(data []byte, taken int) []byte {
	header, rest := data[:512], data[512:]
	end := bytes.Index(rest, []byte{0})
	var records []byte
	for line := range strings.Lines(string(rest[:end])) {
		_, record, _ := strings.Cut(line, " ")
		n := len(record) + 2
		for len(fmt.Sprint(n))+1+len(record) != n {
			n++
		}
		records = fmt.Appendf(records, "%d %s", n, record)
	}
	copy(header[124:136], fmt.Sprintf("%011o\x00", len(records)))
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	padded := append(records, make([]byte, 512-len(records)%512)...)
	return append(append(bytes.Clone(header), padded...), rest[512-taken:]...)
}

// Archives that no builder writes are read as they are, in bounded memory, and what cannot
// be read is an error about the image.
func TestHostileTars(t *testing.T) {
	hard := func(name, target string) file {
		return file{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644, ModTime: epoch}}
	}
	long := func(n int, content string) (all []file) {
		for i := range n {
			all = append(all, regular(strings.Repeat("x", 900_000)+fmt.Sprint(i), content))
		}
		return all
	}
	for name, tt := range map[string]struct {
		a, b []file
		want string // the respects, each with how often
	}{
		"a hard link before its file": {[]file{hard("l", "f"), regular("f", "x")}, []file{regular("f", "x"), hard("l", "f")}, "1 order"},
		"a path twice, the last wins": {[]file{regular("f", "x"), regular("f", "y")}, []file{regular("f", "y"), regular("f", "y")}, "1 content"},
		"a path as folder and file":   {[]file{folder("f/"), regular("f", "x")}, []file{folder("f/"), regular("f", "y")}, "1 content"},
		"out of the folder":           {[]file{regular("../../etc/passwd", "x")}, []file{regular("../../etc/passwd", "y")}, "1 content"},
		"long names":                  {long(20, "x"), long(20, "y"), "20 content"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := base(), base()
			a.layers, b.layers = [][]file{tt.a}, [][]file{tt.b}
			counts := map[imagediff.What]int{}
			skipped := 0
			for _, d := range compare(t, a.image(t, "a"), b.image(t, "b")) {
				counts[d.What]++
				if d.Skipped != "" {
					skipped++
				}
			}
			var got []string
			for what, n := range counts {
				got = append(got, fmt.Sprintf("%d %s", n, what))
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
			if (skipped > 0) != (name == "long names") {
				t.Errorf("%d were not looked into", skipped)
			}
		})
	}
	for name, layer := range map[string]func([]byte) []byte{
		"a size beyond the end": func(b []byte) []byte { return withSize(b, "77777777777") },
		"a size in base 256":    func(b []byte) []byte { return withSize(b, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") },
		"a negative size":       func(b []byte) []byte { return withSize(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") },
		"cut in a header":       func(b []byte) []byte { return b[:1400] },
	} {
		t.Run(name, func(t *testing.T) {
			m := base()
			m.layers = [][]file{{regular("f", "x"), regular("g", "y")}}
			m.pack = layer
			_, err := imagediff.Compare(context.Background(), base().image(t, "a"), m.image(t, "b"), imagediff.Options{TempDir: t.TempDir()},
				func(imagediff.Difference) error { return nil })
			var bad *imagediff.ImageError
			if !errors.As(err, &bad) || bad.Name != "b" {
				t.Errorf("got %v, want an error about b", err)
			}
		})
	}
}

// withSize writes the size into the first header, and its sum.
func withSize(data []byte, size string) []byte {
	data = bytes.Clone(data)
	clear(data[124:136])
	copy(data[124:136], size)
	copy(data[148:156], "        ")
	sum := 0
	for _, c := range data[:512] {
		sum += int(c)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// FuzzLayer compares what may be no tar with one that is.
func FuzzLayer(f *testing.F) {
	m := base()
	f.Add(tarOf(f, m.layers[0]), "etc/a")
	f.Add([]byte("no tar"), "x")
	f.Add(m.pack(tarOf(f, m.layers[0])), "\xff")
	f.Fuzz(func(t *testing.T, layer []byte, name string) {
		a, b := base(), base()
		b.pack = func([]byte) []byte { return layer }
		x, y := a.image(t, name), b.image(t, name)
		var out strings.Builder
		p := imagediff.NewText(&out)
		p.Begin(x, y)
		sum, err := imagediff.Compare(context.Background(), x, y, imagediff.Options{TempDir: t.TempDir()}, p.Difference)
		p.End(sum)
		if err == nil && sum.Equal && x.Root.Digest != y.Root.Digest {
			t.Error("images with other digests are equal")
		}
		for _, r := range out.String() {
			if r != '\n' && unicode.IsControl(r) {
				t.Errorf("it prints %U", r)
			}
		}
	})
}
