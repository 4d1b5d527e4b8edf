package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
)

// errAbsent reports that there is no file at a final name.
var errAbsent = errors.New("missing")

// wrongError reports that the file at a final name is not the wanted one.
type wrongError struct{ err error }

func (e *wrongError) Error() string { return e.err.Error() }
func (e *wrongError) Unwrap() error { return e.err }

// check verifies the file at path, and changes nothing. The error is errAbsent, a
// *wrongError, or one because of which the file can be neither checked nor replaced,
// such as a folder of that name.
func (r *run) check(ctx context.Context, path string, want graph.Hash) error {
	s, err := r.tree.spot(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errAbsent
	}
	if err != nil {
		return err
	}
	defer s.close()
	return r.verify(ctx, s, want)
}

// verify checks a file in an open folder, as check does.
func (r *run) verify(ctx context.Context, s *spot, want graph.Hash) error {
	info, err := s.dir.Lstat(s.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errAbsent
	case err != nil:
		return fmt.Errorf("reading %q: %w", s.path, cause(err))
	case info.IsDir():
		return fmt.Errorf("%q is a folder", s.path)
	case !info.Mode().IsRegular():
		return &wrongError{fmt.Errorf("not a regular file: %v", info.Mode().Type())}
	}
	got, err := r.sum(ctx, s)
	if errors.Is(err, fs.ErrNotExist) {
		return errAbsent // another run is moving a wrong one away
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", s.path, cause(err))
	}
	if got != want {
		return &wrongError{&transfer.HashError{What: "file", Got: got, Want: want}}
	}
	return nil
}

func (r *run) sum(ctx context.Context, s *spot) (graph.Hash, error) {
	if r.opts.Sum != nil {
		sum, err := r.opts.Sum(filepath.Join(r.opts.Tree, filepath.FromSlash(s.path)))
		return graph.Hash(sum), err
	}
	// O_NONBLOCK: if it has become a pipe meanwhile, do not wait for a writer.
	f, err := s.dir.OpenFile(s.base, syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return graph.Hash{}, err
	}
	defer f.Close()
	return sumReader(ctx, f)
}

// sumReader reads r to its end, or until ctx is done.
func sumReader(ctx context.Context, r io.Reader) (graph.Hash, error) {
	h := sha256.New()
	_, err := io.CopyBuffer(h, contextReader{ctx, r}, make([]byte, 256<<10))
	return graph.Hash(h.Sum(nil)), err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
