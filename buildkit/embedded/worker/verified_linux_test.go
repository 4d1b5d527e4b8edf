package worker

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/buildkit"
)

// noise is random, and the same each time.
func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

// verifiedBlob is a blob in a store on disk, whose file can be changed.
func verifiedBlob(t *testing.T, data []byte) (s verified, desc ocispecs.Descriptor, path string) {
	t.Helper()
	root := t.TempDir()
	store, err := local.NewStore(root)
	mustDo(t, err)
	desc = ocispecs.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	mustDo(t, content.WriteBlob(t.Context(), store, "x", bytes.NewReader(data), desc))
	path = filepath.Join(root, "blobs", "sha256", desc.Digest.Encoded())
	mustDo(t, os.Chmod(path, 0o600))
	return verified{store}, desc, path
}

// What is whole is given as it is, in whatever order and pieces it is asked for.
func TestVerifiedWhole(t *testing.T) {
	for _, size := range []int{0, 1, verifiedTail - 1, verifiedTail, verifiedTail + 1, 3*verifiedTail + 7} {
		data := noise(size)
		s, desc, _ := verifiedBlob(t, data)
		for _, piece := range []int64{4096, 1 << 20, 5 << 20} {
			r, err := s.ReaderAt(t.Context(), desc)
			mustDo(t, err)
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			if mustDo(t, err); !bytes.Equal(got, data) {
				t.Errorf("%d bytes: they are others", size)
			}
			for off := r.Size() - piece; off > 0; off -= piece { // backwards
				p := make([]byte, piece)
				n, err := r.ReadAt(p, off)
				if err != nil && err != io.EOF || !bytes.Equal(p[:n], data[off:][:n]) {
					t.Errorf("%d bytes: %d at %d: %v", size, n, off, err)
				}
			}
			mustDo(t, r.Close())
		}
	}
}

// What is not what its name says is never given to its end, nor is what only its
// end was asked of.
func TestVerifiedDamaged(t *testing.T) {
	for _, size := range []int{1, 1000, verifiedTail + 1, 3 * verifiedTail} {
		data := noise(size)
		for what, damage := range map[string]func(f *os.File) error{
			"the first byte": func(f *os.File) error { _, err := f.WriteAt([]byte{^data[0]}, 0); return err },
			"the last byte":  func(f *os.File) error { _, err := f.WriteAt([]byte{^data[size-1]}, int64(size-1)); return err },
			"cut short":      func(f *os.File) error { return f.Truncate(int64(size / 2)) },
			"emptied":        func(f *os.File) error { return f.Truncate(0) },
			"longer":         func(f *os.File) error { return f.Truncate(int64(size + 1)) },
		} {
			s, desc, path := verifiedBlob(t, data)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			mustDo(t, err)
			mustDo(t, damage(f))
			mustDo(t, f.Close())
			for _, from := range []int64{0, int64(size) - 1} {
				r, err := s.ReaderAt(t.Context(), desc)
				if err == nil {
					_, err = io.Copy(io.Discard, io.NewSectionReader(r, min(from, r.Size()-1), r.Size()))
					r.Close()
				}
				if err == nil || !strings.Contains(err.Error(), desc.Digest.String()+" "+buildkit.DamagedBlob) || !buildkit.Damaged(err) {
					t.Errorf("%d bytes, %s, read from %d: %v", size, what, from, err)
				}
			}
		}
	}
}

// Bytes that change while they are read are those that are hashed.
func TestVerifiedMeanwhile(t *testing.T) {
	data := noise(3 * verifiedTail)
	s, desc, path := verifiedBlob(t, data)
	r, err := s.ReaderAt(t.Context(), desc)
	mustDo(t, err)
	defer r.Close()
	p := make([]byte, verifiedTail)
	if _, err := r.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	mustDo(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("changed"), verifiedTail+1)
	mustDo(t, err)
	if _, err := io.Copy(io.Discard, io.NewSectionReader(r, verifiedTail, r.Size())); err == nil || !buildkit.Damaged(err) {
		t.Errorf("got %v", err)
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
