package buildkit

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil"
	"google.golang.org/grpc"
)

// ReadError means that a file of a context could not be read for a build, or that its
// bytes differ from those that the build's record would name.
type ReadError struct {
	Path string // in the context
	Err  error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("%q could not be read for the build: %v; make sure that nothing changes it during the build, and run the same command again", e.Path, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// servedContext is a context that the engine may read while a build uses it. The first failed
// read ends all builds that use it: BuildKit transfers a context once for all of them,
// and cannot be trusted with an incomplete transfer.
type servedContext struct {
	*contextFS
	uses int // under dirs.mu

	once   sync.Once
	failed chan struct{} // closed once err is set
	err    error
}

func newServed(c *contextFS) *servedContext {
	return &servedContext{contextFS: c, failed: make(chan struct{})}
}

func (s *servedContext) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.failed)
	})
}

// failure returns the first failed read's error, nil if there was none.
func (s *servedContext) failure() error {
	select {
	case <-s.failed:
		return s.err
	default:
		return nil
	}
}

// whileReadable returns a context that the first failed read of one of the build contexts
// cancels, with its error as the cause. The caller calls stop.
func whileReadable(ctx context.Context, contexts ...*servedContext) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	for _, s := range contexts {
		go func() { // ended by stop
			select {
			case <-s.failed:
				cancel(s.err)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// dirs serves the contexts of the running builds by name.
type dirs struct {
	filesync.UnimplementedFileSyncServer
	mu     sync.Mutex
	byName map[string]*servedContext
}

// serve makes c readable until release is called. Its name contains the hash of its
// content, so that equal contexts of one family are the same to BuildKit, and here.
func (d *dirs) serve(kind string, c *contextFS) (name string, s *servedContext, release func()) {
	name = kind + "-" + c.id
	d.mu.Lock()
	defer d.mu.Unlock()
	s = d.byName[name]
	if s == nil {
		s = newServed(c)
		d.byName[name] = s
	}
	s.uses++
	return name, s, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if s.uses--; s.uses == 0 {
			delete(d.byName, name)
		}
	}
}

func (d *dirs) lookup(name string) *servedContext {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byName[name]
}

// Register implements session.Attachable.
func (d *dirs) Register(server *grpc.Server) { filesync.RegisterFileSyncServer(server, d) }

// DiffCopy implements filesync.FileSyncServer. It returns at the first failed read, which
// also ends the transfer in the engine. fsutil's sender alone would send an empty file for
// one that it cannot open, and would let the receiver wait for ever for one that it cannot
// read.
func (d *dirs) DiffCopy(stream filesync.FileSync_DiffCopyServer) error {
	t := &transfer{dirs: d, failed: make(chan error, 1)}
	sender := filesync.NewFSSyncProvider(t).(filesync.FileSyncServer)
	sent := make(chan error, 1)
	go func() { sent <- sender.DiffCopy(stream) }() // ended by stream's end
	select {
	case err := <-sent:
		return t.check(err)
	case err := <-t.failed:
		return err
	}
}

// transfer is one reading of a context by the engine.
type transfer struct {
	dirs   *dirs
	failed chan error // receives the first failure

	mu      sync.Mutex
	context *servedContext // set by LookupDir
	unread  int            // files that are open and not read to their end
}

var (
	_ filesync.DirSource = (*transfer)(nil)
	_ fsutil.FS          = (*transferFS)(nil)
)

// LookupDir implements filesync.DirSource.
func (t *transfer) LookupDir(name string) (fsutil.FS, bool) {
	s := t.dirs.lookup(name)
	if s == nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.context = s
	return &transferFS{s, t}, true
}

// fail ends the transfer, and every build that uses its context.
func (t *transfer) fail(err error) {
	t.mu.Lock()
	s := t.context
	t.mu.Unlock()
	s.fail(err)
	select {
	case t.failed <- err:
	default: // it failed already
	}
}

// check returns err, the sender's result. If err is nil, every opened file must have been
// read to its end, else check returns an error.
func (t *transfer) check(err error) error {
	t.mu.Lock()
	unread := t.unread
	t.mu.Unlock()
	if err == nil && unread > 0 {
		err = fmt.Errorf("%d files of the context were not read to their end", unread)
		t.fail(err)
	}
	return err
}

func (t *transfer) opened(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unread += n
}

// transferFS is a context whose failures end the transfer.
type transferFS struct {
	*servedContext
	transfer *transfer
}

// Open implements fsutil.FS. If the file cannot be opened, reading from the result fails
// instead, because fsutil's sender sends an empty file for one that it cannot open.
func (f *transferFS) Open(path string) (io.ReadCloser, error) {
	r := &transferReader{path: path, transfer: f.transfer}
	if r.file, r.openErr = f.servedContext.Open(path); r.openErr != nil {
		r.file = nil
	}
	f.transfer.opened(1)
	return r, nil
}

type transferReader struct {
	path     string
	file     io.ReadCloser // nil if it could not be opened
	openErr  error
	ended    bool // it was read to its end
	transfer *transfer
}

func (r *transferReader) Read(p []byte) (n int, err error) {
	if r.file == nil {
		err = r.openErr
	} else {
		n, err = r.file.Read(p)
	}
	switch {
	case err == io.EOF && !r.ended:
		r.ended = true
		r.transfer.opened(-1)
	case err != nil && err != io.EOF:
		err = &ReadError{r.path, err}
		r.transfer.fail(err)
	}
	return n, err
}

func (r *transferReader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
