package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Staging is a layout written aside, in a folder of .sx/tmp that this process has
// locked. Blobs may be added concurrently. Close it always; Commit makes it the
// output.
type Staging struct {
	s      *Store
	output string
	path   string // the locked folder; the layout is its subfolder "layout"
	lock   *os.File

	mu    sync.Mutex
	sizes map[oci.Digest]int64 // blobs in the layout
	done  bool
}

// Stage begins a new layout for an output.
func (s *Store) Stage(output string) (*Staging, error) {
	if err := checkOutput(output); err != nil {
		return nil, err
	}
	if s.readOnly != nil {
		return nil, fmt.Errorf("staging output %q: %w", output, s.readOnly)
	}
	path, lock, err := disk.ClaimDir(s.Dir("tmp"), output)
	if err != nil {
		return nil, fmt.Errorf("staging output %q: %w", output, err)
	}
	t := &Staging{s: s, output: output, path: path, lock: lock, sizes: map[oci.Digest]int64{}}
	if err := makeDirs(t.layout(), t.layout("blobs"), t.layout("blobs", "sha256")); err != nil {
		return nil, errors.Join(fmt.Errorf("staging output %q: %w", output, err), t.Close())
	}
	return t, nil
}

// makeDirs makes folders of mode 0755 whatever the umask.
func makeDirs(paths ...string) error {
	for _, path := range paths {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (t *Staging) layout(elem ...string) string {
	return filepath.Join(append([]string{t.path, "layout"}, elem...)...)
}

func (t *Staging) blob(d oci.Digest) string { return t.layout("blobs", "sha256", d.Hex()) }

// Has reports whether the layout holds a blob, taking it from the shared blobs
// when they do.
func (t *Staging) Has(d oci.Digest) bool {
	t.mu.Lock()
	_, ok := t.sizes[d]
	t.mu.Unlock()
	if ok || d.IsZero() {
		return ok
	}
	err := t.s.Link(d, t.blob(d))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	info, err := os.Lstat(t.blob(d))
	if err != nil {
		return false
	}
	t.add(d, info.Size())
	return true
}

func (t *Staging) add(d oci.Digest, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sizes[d] = size
}

// LinkBlob adds the file at path without copying it where a hard link is possible;
// the file is then made 0444 and gets the mtime that all blobs of sx have. Its
// bytes are hashed unless the shared blobs already hold d, and then path is not
// looked at. Nobody may write to the file any more, here or at path.
func (t *Staging) LinkBlob(d oci.Digest, size int64, path string) error {
	if t.Has(d) {
		return t.checkSize(d, size)
	}
	f, err := disk.OpenRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	defer f.Close()
	tmp := filepath.Join(t.path, rand.Text())
	defer os.Remove(tmp)
	if err := errors.Join(t.s.linkOpen(f, path, tmp), seal(tmp)); err != nil {
		t.s.log.Debug("blob is copied", zap.String("digest", d.String()), zap.Error(err))
		return t.WriteBlob(d, size, f)
	}
	if err := errors.Join(copyVerified(io.Discard, f, d, size), f.Sync()); err != nil {
		return fmt.Errorf("adding blob %s from %q: %w", d, path, err)
	}
	if err := t.s.rememberSealed(f, d); err != nil {
		return fmt.Errorf("adding blob %s from %q: %w", d, path, err)
	}
	return t.place(d, size, f, tmp)
}

// WriteBlob adds a blob of exactly size bytes with digest d, read from r.
func (t *Staging) WriteBlob(d oci.Digest, size int64, r io.Reader) error {
	if t.Has(d) {
		return t.checkSize(d, size)
	}
	if err := (oci.Descriptor{Digest: d, Size: size}).Check(); err != nil {
		return fmt.Errorf("adding blob: %w", err)
	}
	tmp, err := disk.CreateTemp(t.path)
	if err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	defer tmp.Discard()
	if err := t.s.fill(tmp, d, size, r); err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	return t.place(d, size, tmp.File, tmp.Path)
}

func (t *Staging) checkSize(d oci.Digest, size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sizes[d] != size {
		return &DamagedError{d, fmt.Errorf("adding blob %s: size is %d, not %d", d, t.sizes[d], size)}
	}
	return nil
}

// place moves a sealed, synced and verified file from tmp into the layout, and
// makes it the shared blob.
func (t *Staging) place(d oci.Digest, size int64, f *os.File, tmp string) error {
	if err := t.s.share(d, f, tmp); err != nil {
		t.s.log.Warn("blob is not shared", zap.String("digest", d.String()), zap.Error(err))
	}
	err := t.s.stats.Keep(f, 0, func() error { return os.Rename(tmp, t.blob(d)) })
	if err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	t.add(d, size)
	return nil
}

// Close gives the staged layout up, unless it was committed.
func (t *Staging) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil
	}
	t.done = true
	defer t.lock.Close()
	return t.s.discard(t.path)
}
