package cache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Staging is a layout in a folder of .sx/tmp that this process has locked. Blobs may be
// added concurrently. Close it in any case; Commit makes it the output.
type Staging struct {
	s      *Store
	output string
	path   string // the locked folder; the layout is its subfolder "layout"
	lock   *os.File

	mu    sync.Mutex
	blobs map[oci.Digest]staged
	done  bool

	lone atomic.Bool // a blob could not be shared
}

// staged is a blob in the layout, whose digest was checked.
type staged struct {
	st       disk.Stamp // another process may link the file, which changes the ctime
	document []byte     // its bytes, if it was written here and has few
}

// maxDocument is the size up to which a staged blob is kept in memory until it is committed:
// documents have some hundred bytes for each layer.
const maxDocument = 64 << 10

// Stage begins a new layout for an output.
func (s *Store) Stage(output string) (*Staging, error) {
	if err := CheckName(output); err != nil {
		return nil, err
	}
	if s.readOnly != nil {
		return nil, fmt.Errorf("staging output %q: %w", output, s.readOnly)
	}
	path, lock, err := disk.ClaimDir(s.Dir("tmp"), output)
	if err != nil {
		return nil, fmt.Errorf("staging output %q: %w", output, err)
	}
	t := &Staging{s: s, output: output, path: path, lock: lock, blobs: map[oci.Digest]staged{}}
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
	return join(t.path+"/layout", elem)
}

func (t *Staging) blob(d oci.Digest) string { return t.layout("blobs", "sha256", d.Hex()) }

// Has reports whether the layout holds a blob, after linking it from the shared blobs if
// these have it.
func (t *Staging) Has(d oci.Digest) bool {
	t.mu.Lock()
	_, ok := t.blobs[d]
	t.mu.Unlock()
	if ok || d.IsZero() {
		return ok
	}
	if !disk.IsThere(t.s.shared(d)) { // as for most blobs of a build; Link would have to say so
		return false
	}
	err := t.s.Link(d, t.blob(d))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	st, err := disk.StatPath(t.blob(d))
	if err != nil {
		return false
	}
	t.add(d, staged{st: st})
	return true
}

func (t *Staging) add(d oci.Digest, blob staged) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blobs[d] = blob
}

// held is what a [layout.Reader] need not read.
func (t *Staging) held(d oci.Digest) (layout.Held, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	blob, ok := t.blobs[d]
	return layout.Held{Size: blob.st.Size, Document: blob.document}, ok
}

// Size returns how many bytes the blobs have together.
func (t *Staging) Size() (bytes int64) {
	if t == nil { // the image stays in a hub
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, blob := range t.blobs {
		bytes += blob.st.Size
	}
	return bytes
}

// LinkBlob adds the file at path, as a hard link if possible, and else as a copy. The file
// gets mode 0444 and the mtime that all blobs of sx have; nothing may write to it any more.
// Its bytes are hashed, unless the shared blobs already hold d: then path is not opened.
func (t *Staging) LinkBlob(d oci.Digest, size int64, path string) error {
	if t.Has(d) {
		return t.checkSize(d, size)
	}
	f, err := disk.OpenRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	tmp := &disk.Temp{File: f, Path: filepath.Join(t.path, rand.Text())}
	defer tmp.Discard()
	if err := errors.Join(t.s.linkOpen(f, path, tmp.Path), seal(tmp.Path)); err != nil {
		t.s.log.Debug("blob is copied", zap.String("digest", d.String()), zap.Error(err))
		return t.WriteBlob(d, size, f)
	}
	if err := errors.Join(oci.CopyVerified(io.Discard, f, d, size), f.Sync()); err != nil {
		return fmt.Errorf("adding blob %s from %q: %w", d, path, err)
	}
	if err := t.s.rememberSealed(f, d); err != nil {
		return fmt.Errorf("adding blob %s from %q: %w", d, path, err)
	}
	return t.place(d, tmp, nil)
}

// WriteBlob adds a blob of exactly size bytes with digest d, read from r.
func (t *Staging) WriteBlob(d oci.Digest, size int64, r io.Reader) error {
	if t.Has(d) {
		return t.checkSize(d, size)
	}
	if err := (oci.Descriptor{Digest: d, Size: size}).Check(); err != nil {
		return fmt.Errorf("adding blob: %w", err)
	}
	tmp, err := disk.CreateIn(t.path)
	if err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	defer tmp.Discard()
	var document bytes.Buffer
	if size <= maxDocument {
		document.Grow(int(size))
		r = io.TeeReader(r, &document)
	}
	if err := t.s.fill(tmp, d, size, r); err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	return t.place(d, tmp, document.Bytes())
}

func (t *Staging) checkSize(d oci.Digest, size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if is := t.blobs[d].st.Size; is != size {
		return &oci.DamagedError{Digest: d, Err: fmt.Errorf("adding blob %s: size is %d, not %d", d, is, size)}
	}
	return nil
}

// place makes a sealed, synced and verified file the shared blob, and moves it into the
// layout.
func (t *Staging) place(d oci.Digest, tmp *disk.Temp, document []byte) error {
	move := func() error { return tmp.Rename(t.blob(d)) }
	st, err := t.s.stats.KeepStamped(tmp.File, 1, func() error {
		if err := t.s.link(tmp.Path, t.s.shared(d)); err != nil {
			return err
		}
		return move()
	})
	if err != nil && tmp.Path != "" { // another has shared it meanwhile, or links are not possible
		if err := t.s.share(d, tmp.File, tmp.Path); err != nil {
			t.s.log.Warn("blob is not shared", zap.String("digest", d.String()), zap.Error(err))
			t.lone.Store(true)
		}
		st, err = t.s.stats.KeepStamped(tmp.File, 0, move)
	}
	if err != nil {
		return fmt.Errorf("adding blob %s: %w", d, err)
	}
	t.add(d, staged{st, document})
	return nil
}

// Commit makes the staged layout out/<output>: it writes oci-layout and index.json exactly
// as `docker buildx build -o type=oci` leaves them, checks that the folder holds every blob
// that index leads to and no other, syncs, and swaps the folder into place. After an error
// or a kill out/<output> is the old layout or the new one. The staging is used up, also by
// an error.
func (t *Staging) Commit(ctx context.Context, index oci.Descriptor, annotations map[string]string) (Layout, error) {
	l, err := t.commit(ctx, index, annotations)
	if err != nil {
		return Layout{}, errors.Join(fmt.Errorf("committing output %q: %w", t.output, err), t.Close())
	}
	if err := errors.Join(t.s.discardReplaced(t.layout()), t.Close()); err != nil {
		t.s.log.Warn("old layout is left behind", zap.String("output", t.output), zap.Error(err))
	}
	return l, nil
}

func (t *Staging) commit(ctx context.Context, index oci.Descriptor, annotations map[string]string) (Layout, error) {
	if t.isDone() {
		return Layout{}, errors.New("the staging is closed")
	}
	made := &madeLayout{at: time.Now().Add(-memo.Past)}
	folder, err := t.writeFiles(made, index, annotations)
	if err != nil {
		return Layout{}, err
	}
	l, blobs, err := t.check(ctx, folder)
	if err != nil {
		return Layout{}, err
	}
	if err := errors.Join(t.seal(made, blobs), disk.SyncDir(t.s.Dir("blobs", "sha256"))); err != nil {
		return Layout{}, err
	}
	if ctx.Err() != nil {
		return Layout{}, context.Cause(ctx)
	}
	l.Output = t.output
	if err := t.s.swap(t.layout(), t.output); err != nil {
		return Layout{}, err
	}
	t.s.rememberMade(l, made.items, blobs, !t.lone.Load())
	return l, nil
}

func (t *Staging) isDone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// check reads the staged layout like any other; its blobs were hashed when added.
func (t *Staging) check(ctx context.Context, folder *layout.Folder) (Layout, []oci.Descriptor, error) {
	r := layout.Filled(folder, t.s.stats)
	defer r.Close()
	c, err := r.Check(ctx, true)
	if err != nil {
		return Layout{}, nil, err
	}
	blobs, err := r.Blobs(c)
	if err != nil {
		return Layout{}, nil, err
	}
	return c.Layout, blobs, t.drop(blobs)
}

// drop removes staged blobs that the layout does not name.
func (t *Staging) drop(wanted []oci.Descriptor) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	stray := map[oci.Digest]bool{}
	for d := range t.blobs {
		stray[d] = true
	}
	for _, d := range wanted {
		delete(stray, d.Digest)
	}
	for d := range stray {
		if err := t.s.unlink(d, t.blob(d), false); err != nil {
			return err
		}
		delete(t.blobs, d)
	}
	return nil
}

// Close discards the staged layout, unless it was committed.
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
