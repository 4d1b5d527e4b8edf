package buildkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"codeberg.org/stagex/sx/graph"
)

// SourceFile is a fetched source in a build: a regular file with mode 0644, read from
// Path and hashed while it is read.
type SourceFile struct {
	Name string // under fetch/
	Path string // on this machine
	Hash graph.Hash
}

// HashMismatchError means that a file changed between its verification and the engine's
// reading it.
type HashMismatchError struct {
	Path      string
	Got, Want graph.Hash
}

func (e *HashMismatchError) Error() string {
	return fmt.Sprintf("reading %q: its sha256 is %s, want %s: it changed since it was verified", e.Path, e.Got, e.Want)
}

// SizeMismatchError means that a file's size changed while the engine read it.
type SizeMismatchError struct {
	Path string
	Want int64 // its size when the build began, in bytes
}

func (e *SizeMismatchError) Error() string {
	return fmt.Sprintf("reading %q: it no longer has %d bytes: it changed since the build began", e.Path, e.Want)
}

// contextFS is a build context in memory: a definition's snapshot, the sources, or both
// merged. Owners are 0:0 and modes normalised, so that a checkout's umask and user do not
// affect the image. It is immutable and safe for concurrent use.
type contextFS struct {
	entries []*entry // in fsutil's order: by path components
	byPath  map[string]*entry
	id      string
}

type entry struct {
	stat   *types.Stat
	data   []byte      // of a snapshot's file
	source *SourceFile // of a fetched file
}

var _ fsutil.FS = (*contextFS)(nil)

// newContext merges files and, below prefix, sources. Unless prefix is "", files must
// have nothing below it (see [graph.Snapshot]).
func newContext(files []graph.File, sources []SourceFile, prefix string) (*contextFS, error) {
	c := &contextFS{byPath: map[string]*entry{}}
	for _, f := range files {
		st := &types.Stat{Path: f.Path, Mode: uint32(f.Mode), ModTime: timestamp(f.ModTime), Linkname: f.Link}
		if f.Mode.IsRegular() {
			st.Size = int64(len(f.Data))
		}
		c.add(&entry{stat: st, data: f.Data})
	}
	if prefix != "" {
		c.add(&entry{stat: &types.Stat{Path: prefix, Mode: uint32(fs.ModeDir | 0o755), ModTime: timestamp(epoch)}})
	}
	for _, s := range sources {
		info, err := os.Stat(s.Path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%q is not a regular file", s.Path)
		}
		if err != nil {
			return nil, fmt.Errorf("reading source %q: %w", s.Name, err)
		}
		c.add(&entry{source: &s, stat: &types.Stat{
			Path: path.Join(prefix, s.Name), Mode: 0o644, Size: info.Size(), ModTime: timestamp(info.ModTime()),
		}})
	}
	slices.SortFunc(c.entries, func(a, b *entry) int { return comparePaths(a.stat.Path, b.stat.Path) })
	c.id = c.hash()
	return c, nil
}

// epoch is the time of folders that sx adds to a context. All timestamps of the image are
// rewritten to it (SOURCE_DATE_EPOCH=1).
var epoch = time.Unix(1, 0)

// latest is the last time that the protocol can carry, as nanoseconds in an int64.
var latest = time.Unix(0, math.MaxInt64)

// timestamp returns t as nanoseconds since 1970, moved into the range in which it
// does not reach the image: BuildKit rewrites only what is later than epoch, so an
// older file (of a checkout in an OSTree store, say, where mtimes are 0) would give
// the image other bytes under the same key.
func timestamp(t time.Time) int64 {
	switch {
	case t.Before(epoch):
		t = epoch
	case t.After(latest):
		t = latest
	}
	return t.UnixNano()
}

func (c *contextFS) add(e *entry) {
	c.entries = append(c.entries, e)
	c.byPath[e.stat.Path] = e
}

// comparePaths compares paths in the order of a walk: "a/b" before "a.txt".
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// hash returns a hash of everything in the context that a build can see, except mtimes.
// It is part of the context's name, so that the engine never reuses an earlier transfer
// of other bytes with the same size and mtime.
func (c *contextFS) hash() string {
	h := sha256.New()
	for _, e := range c.entries {
		field(h, []byte(e.stat.Path))
		field(h, []byte(fs.FileMode(e.stat.Mode).String()))
		field(h, []byte(e.stat.Linkname))
		switch {
		case e.source != nil:
			field(h, e.source.Hash[:])
		default:
			sum := sha256.Sum256(e.data)
			field(h, sum[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

func field(h hash.Hash, b []byte) {
	binary.Write(h, binary.BigEndian, uint64(len(b)))
	h.Write(b)
}

// Walk implements fsutil.FS. It visits target and the entries below it, in order.
func (c *contextFS) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	target = strings.Trim(path.Clean("/"+target), "/")
	skip := ""
	for _, e := range c.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := e.stat.Path
		if target != "" && p != target && !strings.HasPrefix(p, target+"/") {
			continue
		}
		if skip != "" && strings.HasPrefix(p, skip) {
			continue
		}
		st := e.stat.Clone()
		err := fn(p, &fsutil.DirEntryInfo{Stat: st}, nil)
		switch {
		case err == fs.SkipAll:
			return nil
		case err == fs.SkipDir && fs.FileMode(st.Mode).IsDir():
			skip = p + "/"
		case err == fs.SkipDir && path.Dir(p) == ".":
			return nil
		case err == fs.SkipDir:
			skip = path.Dir(p) + "/"
		case err != nil:
			return err
		}
	}
	return nil
}

// Open implements fsutil.FS. Reading a source to its end fails with a *HashMismatchError
// or a *SizeMismatchError if its bytes differ from the verified ones.
func (c *contextFS) Open(p string) (io.ReadCloser, error) {
	e := c.byPath[strings.Trim(path.Clean("/"+p), "/")]
	switch {
	case e == nil || !fs.FileMode(e.stat.Mode).IsRegular():
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	case e.source == nil:
		return io.NopCloser(bytes.NewReader(e.data)), nil
	}
	f, err := openSource(e.source.Path)
	if err != nil {
		return nil, err
	}
	return &hashedReader{f: f, h: sha256.New(), want: e.source.Hash, size: e.stat.Size, left: e.stat.Size}, nil
}

// openSource opens a regular file. It does not block if the file was replaced by a pipe.
func openSource(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("opening %q: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// hashedReader returns an error instead of the final EOF if the file does not have the
// expected hash or size.
type hashedReader struct {
	f    *os.File
	h    hash.Hash
	want graph.Hash
	size int64
	left int64 // bytes of size that are still to come
}

func (r *hashedReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.h.Write(p[:n])
	if r.left -= int64(n); r.left < 0 || err == io.EOF && r.left > 0 {
		return 0, &SizeMismatchError{Path: r.f.Name(), Want: r.size}
	}
	if err == io.EOF {
		if got := graph.Hash(r.h.Sum(nil)); got != r.want {
			return n, &HashMismatchError{Path: r.f.Name(), Got: got, Want: r.want}
		}
	}
	return n, err
}

func (r *hashedReader) Close() error { return r.f.Close() }

// ignored are the patterns of Containerfile.dockerignore, or else of
// .dockerignore, by the rules of docker build.
func ignored(files []graph.File) ([]string, error) {
	for _, name := range []string{"Containerfile.dockerignore", ".dockerignore"} {
		for _, f := range files {
			if f.Path == name && f.Mode.IsRegular() {
				patterns, err := ignorefile.ReadAll(bytes.NewReader(f.Data))
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				return patterns, nil
			}
		}
	}
	return nil, nil
}
