package inspect_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/inspect"
)

// blobs are layers in memory.
type blobs map[oci.Digest][]byte

func (b blobs) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b[d.Digest])), nil
}

// entry is "type name [target or content]": "d bin", "f bin/tool hello", "l a b", "h a b".
func header(t *testing.T, entry string) (tar.Header, string) {
	t.Helper()
	kind, rest, _ := strings.Cut(entry, " ")
	name, more, _ := strings.Cut(rest, " ")
	h := tar.Header{Name: name, Mode: 0o755, ModTime: time.Unix(1, 0), Format: tar.FormatPAX}
	switch kind {
	case "d":
		h.Typeflag = tar.TypeDir
	case "f":
		h.Typeflag, h.Size = tar.TypeReg, int64(len(more))
		return h, more
	case "l":
		h.Typeflag, h.Linkname = tar.TypeSymlink, more
	case "h":
		h.Typeflag, h.Linkname = tar.TypeLink, more
	case "c":
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	default:
		t.Fatalf("unknown entry %q", entry)
	}
	return h, ""
}

// image makes an image; each layer is its entries, separated by ", ".
func image(t *testing.T, layers ...string) inspect.Image {
	t.Helper()
	img := inspect.Image{Blobs: blobs{}}
	for _, layer := range layers {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, e := range strings.Split(layer, ", ") {
			h, content := header(t, e)
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, content)
		}
		w.Close()
		d := oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: oci.DigestOf(buf.Bytes()), Size: int64(buf.Len())}
		img.Blobs.(blobs)[d.Digest] = buf.Bytes()
		img.Layers = append(img.Layers, d)
	}
	return img
}

// listed returns "path" or "path=content" of all files, folders with a slash.
func listed(t *testing.T, img inspect.Image) string {
	t.Helper()
	tree, err := inspect.Read(context.Background(), img)
	if err != nil {
		return "error: " + err.Error()
	}
	var all []string
	err = tree.Walk("/", func(f inspect.File) error {
		s := f.Path
		switch f.Type {
		case "folder":
			s += "/"
		case "link":
			s += "->" + f.Target
		case "file":
			var content strings.Builder
			if err := tree.Copy(context.Background(), &content, f); err != nil {
				return err
			}
			s += "=" + content.String()
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// unpacked is listed of the folder that Unpack writes.
func unpacked(t *testing.T, img inspect.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := inspect.Unpack(context.Background(), img, dir); err != nil {
		if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
			t.Errorf("a failed Unpack left %v", left)
		}
		return "error: " + err.Error()
	}
	var all []string
	filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		s := strings.TrimPrefix(p, dir)
		if s == "" {
			return nil
		}
		switch {
		case e.IsDir():
			s += "/"
		case e.Type() == os.ModeSymlink:
			target, _ := os.Readlink(p)
			s += "->" + target
		default:
			data, _ := os.ReadFile(p)
			s += "=" + string(data)
		}
		all = append(all, s)
		return nil
	})
	return strings.Join(all, " ")
}

// What a listing says is what unpacking leaves, also where layers replace, remove and link
// what others have.
func TestMerge(t *testing.T) {
	for name, c := range map[string]struct {
		layers []string
		want   string
	}{
		"one file":                 {[]string{"f a x"}, "/a=x"},
		"a folder is implied":      {[]string{"f a/b x"}, "/a/ /a/b=x"},
		"replaced":                 {[]string{"f a x", "f a y"}, "/a=y"},
		"kept in a folder":         {[]string{"d a, f a/b x", "d a, f a/c y"}, "/a/ /a/b=x /a/c=y"},
		"removed":                  {[]string{"f a x, f b y", "f .wh.a "}, "/b=y"},
		"removed in a folder":      {[]string{"f d/a x, f d/b y", "f d/.wh.a "}, "/d/ /d/b=y"},
		"a folder removed":         {[]string{"f d/a x, f b y", "f .wh.d "}, "/b=y"},
		"opaque":                   {[]string{"f d/a x", "d d, f d/b y, f d/.wh..wh..opq "}, "/d/ /d/b=y"},
		"opaque comes last":        {[]string{"f d/e/a x, f d/e/c z", "f d/e/b y, f d/.wh..wh..opq "}, "/d/ /d/e/ /d/e/b=y"},
		"nothing to remove":        {[]string{"f a x", "f .wh.b , f d/.wh.c "}, "/a=x"},
		"removed and made again":   {[]string{"f a x", "f .wh.a , f a y"}, "/a=y"},
		"made and removed at once": {[]string{"f b x", "f a y, f .wh.a "}, "/a=y /b=x"},
		"a file for a folder":      {[]string{"f a/b x", "f a y"}, "/a=y"},
		"a folder for a file":      {[]string{"f a y", "f a/b x"}, "/a/ /a/b=x"},
		"a folder for a link":      {[]string{"d b, l a b", "d a, f a/c x"}, "/a/ /a/c=x /b/"},
		"a link for a folder":      {[]string{"f a/b x, d c", "l a c"}, "/a->c /c/"},
		"a hard link":              {[]string{"f a x, h b a"}, "/a=x /b=x"},
		"across layers":            {[]string{"f a x", "h b a"}, "/a=x /b=x"},
		"and the first removed":    {[]string{"f a x", "h b a, f .wh.a "}, "/b=x"},
		"and the first replaced":   {[]string{"f a x, h b a", "f a y"}, "/a=y /b=x"},
		"a hard link to nothing":   {[]string{"h b a"}, "error"},
		"a hard link to a folder":  {[]string{"d a, h b a"}, "error"},
		"a hard link to the root":  {[]string{"f a x, h b /"}, "error"},
		"through a link":           {[]string{"d usr/lib, l lib usr/lib", "f lib/a x"}, "/lib->usr/lib /usr/ /usr/lib/ /usr/lib/a=x"},
		"through a link upwards":   {[]string{"d d, l d/up ../../../e", "f d/up/a x"}, "/d/ /d/up->../../../e /e/ /e/a=x"},
		"through an absolute one":  {[]string{"d etc, l l /etc", "f l/a x"}, "/etc/ /etc/a=x /l->/etc"},
		"out of the image":         {[]string{"f ../../a x"}, "/a=x"},
		"the root":                 {[]string{"d ./, f ./a x"}, "/a=x"},
		"a link for the root":      {[]string{"l ./ /etc"}, "error"},
		"links in a circle":        {[]string{"l a b, l b a, f a/c x"}, "error"},
		"hostile names":            {[]string{"f a\x1b[2J x, f b\nc y"}, "/a\x1b[2J=x /b\nc=y"},
	} {
		t.Run(name, func(t *testing.T) {
			img := image(t, c.layers...)
			for how, got := range map[string]string{"listed": listed(t, img), "unpacked": unpacked(t, img)} {
				if failed := strings.HasPrefix(got, "error: "); got != c.want && !(failed && c.want == "error") {
					t.Errorf("%s: %q, want %q", how, got, c.want)
				}
			}
		})
	}
}

// Nothing is said of a layer whose bytes are not those of its digest, and nothing is left
// of one that was unpacked.
func TestVerified(t *testing.T) {
	img := image(t, "f a x")
	for d, data := range img.Blobs.(blobs) {
		changed := bytes.Replace(data, []byte("x"), []byte("y"), 1)
		img.Blobs.(blobs)[d] = changed
	}
	if got := listed(t, img); !strings.HasPrefix(got, "error: ") {
		t.Error(got)
	}
	if got := unpacked(t, img); !strings.HasPrefix(got, "error: ") {
		t.Error(got)
	}
}

// A tree too deep to walk, which links can make of short names, is refused.
func TestDepth(t *testing.T) {
	deep := strings.Repeat("d/", 1000)
	layer := "f " + deep + "x 1, l l1 " + deep + ", l l1/d/l2 d, f l1/" + deep + "y 1, l l3 l1/" + deep + ", f l3/" + deep + "z 1"
	if got := listed(t, image(t, layer)); !strings.Contains(got, "2048 folders deep") {
		t.Errorf("%.200s", got)
	}
	if got := listed(t, image(t, "f "+strings.Repeat("d/", 3000)+"x 1")); !strings.Contains(got, "above the limit of 4096") {
		t.Errorf("%.200s", got)
	}
}

func TestModeString(t *testing.T) {
	for mode, want := range map[int64]string{0o755: "-rwxr-xr-x", 0o4755: "-rwsr-xr-x", 0o2640: "-rw-r-S---", 0o1777: "-rwxrwxrwt", 0: "----------"} {
		if got := (inspect.File{Type: "file", Mode: mode}).ModeString(); got != want {
			t.Errorf("%o: %s, want %s", mode, got, want)
		}
	}
}

// BenchmarkRead reads an image of a hundred thousand files.
func BenchmarkRead(b *testing.B) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := range 100_000 {
		w.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/lib/d%d/f%d", i/100, i), Typeflag: tar.TypeReg, Mode: 0o644})
	}
	w.Close()
	d := oci.Descriptor{Digest: oci.DigestOf(buf.Bytes()), Size: int64(buf.Len())}
	img := inspect.Image{Blobs: blobs{d.Digest: buf.Bytes()}, Layers: []oci.Descriptor{d}}
	for b.Loop() {
		if _, err := inspect.Read(context.Background(), img); err != nil {
			b.Fatal(err)
		}
	}
}

// What may follow in a path: one level, folders with a slash, in the form that was typed.
func TestNext(t *testing.T) {
	x, err := inspect.LoadIndex(memo.Home{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	x.Put("core-a", oci.Digest{}, []string{"/etc/passwd", "/usr/bin/b", "/usr/bin/bc", "/usr/lib", "/x/usr/no"})
	x.Put("core-b", oci.Digest{}, []string{"/usr/other"})
	for begun, want := range map[string]string{
		"": "/etc/ /usr/ /x/", "/": "/etc/ /usr/ /x/", "/u": "/usr/", "u": "usr/", "/usr/": "/usr/bin/ /usr/lib", "usr/l": "usr/lib",
		"/usr/bin/b": "/usr/bin/b /usr/bin/bc", "/usr/bin/bc": "/usr/bin/bc", "/none": "", "bin": "",
	} {
		if got := strings.Join(x.Next("core-a", begun), " "); got != want {
			t.Errorf("%q: %q, want %q", begun, got, want)
		}
	}
	if next := x.Next("core-none", "/"); next != nil {
		t.Errorf("%q", next)
	}
}
