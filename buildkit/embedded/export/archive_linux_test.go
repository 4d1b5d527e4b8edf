package export

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/util/converter"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// bothWays converts what write writes as BuildKit does, from a compressed blob, and
// as we do, from a stream: the results and the failures must be the same.
func bothWays(t testing.TB, what string, write func(io.Writer) error) {
	t.Helper()
	ctx := t.Context()
	stored, err := local.NewLabeledStore(t.TempDir(), labels{})
	must(t, err)
	w, err := stored.Writer(ctx, content.WithRef("x"))
	must(t, err)
	z := gzip.NewWriter(w)
	must(t, write(z))
	must(t, z.Close())
	source := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayerGzip, Digest: w.Digest()}
	must(t, w.Commit(ctx, 0, ""))
	convert, err := converter.NewWithRewriteTimestamp(ctx, stored, source, gzipit, &epoch1, nil)
	must(t, err)
	want, wantErr := convert(ctx, stored, source)

	root := t.TempDir()
	streamed, err := local.NewLabeledStore(root, labels{})
	must(t, err)
	r, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(pw)
		pw.CloseWithError(err)
		written <- err
	}()
	id := digest.FromString("stream")
	got, gotErr := (&Layers{}).convert(ctx, &withStream{Store: streamed, id: id, stream: r},
		ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayer, Digest: id}, job{epoch: epoch1, compression: gzipit})
	r.Close()
	<-written
	if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
		t.Errorf("%s: BuildKit says %v, we %v", what, wantErr, gotErr)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: BuildKit's layer (-) and ours (+):\n%s", what, diff)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "ingest", "*")); len(left) > 0 {
		t.Errorf("%s: left %q", what, left)
	}
}

// labels are those of a store in memory.
type labels map[digest.Digest]map[string]string

func (l labels) Get(d digest.Digest) (map[string]string, error) { return l[d], nil }

func (l labels) Set(d digest.Digest, set map[string]string) error { l[d] = set; return nil }

func (l labels) Update(d digest.Digest, set map[string]string) (map[string]string, error) {
	if l[d] == nil {
		l[d] = map[string]string{}
	}
	maps.Copy(l[d], set)
	return l[d], nil
}

func bytesOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}

// Go's own archives: sparse files in every format, PAX records, GNU's long names,
// xattrs, large numbers, trailing bytes, and broken ones.
func TestGoArchives(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src/archive/tar/testdata/*.tar"))
	must(t, err)
	if len(files) < 20 {
		t.Fatalf("Go has %d archives", len(files))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		bothWays(t, filepath.Base(file), bytesOf(data))
	}
}

// Random archives of every type and format, and what becomes of them by a flipped
// or a missing byte.
func TestRandomArchives(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 2))
		data := randomArchive(t, r)
		bothWays(t, fmt.Sprintf("seed %d", seed), bytesOf(data))
		flipped := bytes.Clone(data)
		flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
		bothWays(t, fmt.Sprintf("seed %d, a flipped bit", seed), bytesOf(flipped))
		bothWays(t, fmt.Sprintf("seed %d, cut", seed), bytesOf(data[:r.IntN(len(data))]))
		bothWays(t, fmt.Sprintf("seed %d, more after the end", seed), bytesOf(append(data, data...)))
	}
}

// FuzzArchive goes on from there.
func FuzzArchive(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(randomArchive(f, rand.New(rand.NewPCG(seed, 2))))
	}
	f.Fuzz(func(t *testing.T, data []byte) { bothWays(t, "fuzzed", bytesOf(data)) })
}

// A file of more bytes than a ustar header can tell: SX_TEST_HUGE=1, some minutes.
func TestHugeArchive(t *testing.T) {
	size := int64(64 << 20)
	if os.Getenv("SX_TEST_HUGE") == "1" {
		size = 9 << 30
	}
	bothWays(t, "a large file of zeros", func(w io.Writer) error {
		tw := tar.NewWriter(w)
		if err := tw.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: size, ModTime: time.Unix(7, 0)}); err != nil {
			return err
		}
		if _, err := io.CopyN(tw, zeros{}, size); err != nil {
			return err
		}
		return tw.Close()
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// randomArchive has some thirty entries.
func randomArchive(t testing.TB, r *rand.Rand) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	long := strings.Repeat("directory/", 30)
	for i := range 30 {
		h := &tar.Header{
			Typeflag: []byte{tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo, tar.TypeCont, tar.TypeReg, tar.TypeReg}[r.IntN(10)],
			Name:     pick("a", "dir/b", ".wh.gone", "dir/.wh..wh..opq", "./c", "/d", "../e", "ünï", long+"f") + fmt.Sprint(i),
			Linkname: pick("a0", "", long+"x", "../a"),
			Mode:     int64(r.IntN(1 << 12)), Uid: r.IntN(1 << 22), Gid: int(r.Int32()), Uname: pick("", "root", "ü"), Gname: pick("", "root"),
			ModTime: pickTime(r), Format: []tar.Format{tar.FormatUnknown, tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU}[r.IntN(4)],
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeCont:
			h.Size = int64(r.IntN(3) * r.IntN(2000))
		case tar.TypeChar, tar.TypeBlock:
			h.Devmajor, h.Devminor = int64(r.IntN(1<<12)), int64(r.IntN(1<<20))
		}
		if h.Format == tar.FormatPAX || h.Format == tar.FormatGNU {
			h.AccessTime, h.ChangeTime = pickTime(r), pickTime(r)
		}
		if h.Format == tar.FormatPAX {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": pick("", "b", "\x00=\n", strings.Repeat("v", 600)), "LIBARCHIVE.x": "y"}
		}
		if w.WriteHeader(h) != nil {
			continue // the format cannot hold it
		}
		_, err := w.Write(noise(int(h.Size)))
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

func pickTime(r *rand.Rand) time.Time {
	return append(times, time.Time{}, time.Unix(1<<40, 0))[r.IntN(len(times)+2)]
}
