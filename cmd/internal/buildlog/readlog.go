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

// Log is the log of a build that runs, or that ran. Reading takes no lock and
// needs no store: it works while any number of sx build.
type Log struct {
	Path  string
	Began time.Time // by its name

	f    *os.File
	tail tail
}

// NoLogError says that no build of an output left a log.
type NoLogError struct{ Output string }

func (e *NoLogError) Error() string {
	return fmt.Sprintf("there is no log of %s: sx has not built it in this tree", e.Output)
}

// Open opens the last log of an output in a state folder. The error is a
// *NoLogError where there is none.
func Open(state, output string) (*Log, error) {
	root, err := os.OpenRoot(state) // a tree may bring a .sx of links
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoLogError{output}
	} else if err != nil {
		return nil, err
	}
	defer root.Close()
	names, err := fs.Glob(root.FS(), filepath.Join(logsDir, output, "*"+logExt))
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

// openRegular opens a file, and nothing that would block or lead elsewhere.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errors.New("it is no regular file"))
	}
	return f, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }

// Running reports that a process still builds into the log.
func (l *Log) Running() bool { return logHeld(l.f) }

// Print writes what the log has and has not been printed yet.
func (l *Log) Print(w io.Writer) error {
	_, err := io.Copy(io.MultiWriter(w, &l.tail), l.f)
	return err
}

// followEvery is how often a log that grows is looked at. A person does not see
// the difference to being told, and it costs two system calls.
const followEvery = 100 * time.Millisecond

// Follow is Print until the build has ended. The error is ctx's cause when that
// ends first.
func (l *Log) Follow(ctx context.Context, w io.Writer) error {
	for {
		running := l.Running() // before reading: what comes after its end is nothing
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

// Ended says how the build did, once all was printed: "" while it runs and when
// its sx was killed.
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

// tail keeps the end of what is written to it.
type tail struct{ buf []byte }

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[max(len(p)-tailBytes, 0):]...)
	t.buf = t.buf[max(len(t.buf)-tailBytes, 0):]
	return len(p), nil
}

// line is the last line, "" where it is too long to tell or does not end.
func (t *tail) line() []byte {
	if !bytes.HasSuffix(t.buf, []byte("\n")) {
		return nil
	}
	b := t.buf[:len(t.buf)-1]
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
