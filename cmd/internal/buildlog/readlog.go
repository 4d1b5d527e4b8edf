package buildlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Log is the log of a running or finished build.
type Log struct {
	Path  string
	Began time.Time // from its name

	f    *os.File
	tail tail
}

// NoLogError reports that there is no log of an output.
type NoLogError struct{ Output string }

func (e *NoLogError) Error() string {
	return fmt.Sprintf("there is no log of %s: sx has not built it in this tree", e.Output)
}

// Open opens the newest log of an output in a state folder. If there is none the
// error is a *NoLogError.
func Open(state, output string) (*Log, error) {
	root, err := os.OpenRoot(state) // a tree may bring a .sx of links
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoLogError{output}
	} else if err != nil {
		return nil, err
	}
	defer root.Close()
	folder := filepath.Join(logsDir, output)
	if _, err := fs.ReadDir(root.FS(), folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the logs of %s: %w", output, err) // which Glob takes for no logs
	}
	names, err := fs.Glob(root.FS(), filepath.Join(folder, "*"+logExt))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &NoLogError{output}
	}
	l := &Log{Path: filepath.Join(state, names[len(names)-1])} // by name, and so by time
	l.Began, _ = logTimeOf(filepath.Base(l.Path))
	if l.f, err = openRegular(root, names[len(names)-1]); err != nil {
		return nil, fmt.Errorf("reading the log %q: %w", l.Path, err)
	}
	return l, nil
}

// openRegular opens a regular file. It neither blocks nor follows a link out of
// root.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errors.New("it is not a regular file"))
	}
	return f, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }

// Running reports whether a process still writes the log.
func (l *Log) Running() bool { return logHeld(l.f) }

// Print writes what the log has got since the last Print.
func (l *Log) Print(w io.Writer) error {
	_, err := io.Copy(io.MultiWriter(w, &l.tail), l.f)
	return err
}

// followEvery is the pause between two reads of a growing log. It is too short to
// notice, and a read costs two system calls.
const followEvery = 100 * time.Millisecond

// Follow calls Print until the build has ended. If ctx ends first, the error is its
// cause.
func (l *Log) Follow(ctx context.Context, w io.Writer) error {
	for {
		running := l.Running() // before reading: after the build nothing is added
		if err := l.Print(w); err != nil || !running {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followEvery):
		}
	}
}

// Ended returns the outcome of the build after all was printed, "" while it runs and
// if its sx was killed.
func (l *Log) Ended() string {
	last, ok := bytes.CutPrefix(l.tail.line(), []byte(LogEnd))
	if !ok || l.Running() {
		return ""
	}
	outcome, _, ok := bytes.Cut(last, []byte(" after "))
	if !ok {
		return ""
	}
	return string(outcome)
}

// tail keeps the last bytes that are written to it.
type tail struct{ buf []byte }

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[max(len(p)-tailBytes, 0):]...)
	t.buf = t.buf[max(len(t.buf)-tailBytes, 0):]
	return len(p), nil
}

// line returns the last line, "" if it is longer than tail or unfinished.
func (t *tail) line() []byte {
	if !bytes.HasSuffix(t.buf, []byte("\n")) {
		return nil
	}
	b := t.buf[:len(t.buf)-1]
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
