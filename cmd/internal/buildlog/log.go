package buildlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/disk"
)

// The log of a build is .sx/logs/<output>/<time>.log: the escaped output of the
// engine, and a last line by sx that says how the build ended. While the build runs,
// its process holds a lock on the file; the kernel releases it when the process
// ends.

const (
	logsDir  = "logs"
	keptLogs = 10 // of one output
	logTime  = "20060102T150405.000000000Z"
	logExt   = ".log"
)

// LogEnd begins the last line of a log. No line of the engine begins with it.
const LogEnd = "sx: "

// Writer is the log of a running build.
type Writer struct {
	Path string
	f    *os.File
}

// Create starts a log and removes the oldest ones of the output.
func Create(store *cache.Store, output string, at time.Time) (*Writer, error) {
	if _, err := store.Folder(logsDir); err != nil {
		return nil, err
	}
	dir := store.Dir(logsDir, output)
	made, err := disk.MakePrivate(dir)
	if err == nil && !made {
		at, err = removeOldest(dir, at)
	}
	if err != nil {
		return nil, err
	}
	l := &Writer{Path: filepath.Join(dir, at.UTC().Format(logTime)+logExt)}
	l.f, err = disk.OpenFile(l.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	// Without locks on this filesystem the log cannot be followed, but the build can
	// go on.
	holdLog(l.f)
	return l, nil
}

// removeOldest makes room for one more log in dir. It returns its time: at, or later if
// the clock was set back since the newest one.
func removeOldest(dir string, at time.Time) (time.Time, error) {
	old, err := os.ReadDir(dir) // by name, and so by time
	if err != nil {
		return at, err
	}
	if len(old) > 0 {
		if last, err := logTimeOf(old[len(old)-1].Name()); err == nil && !at.After(last) {
			at = last.Add(1)
		}
	}
	for len(old) >= keptLogs {
		os.Remove(filepath.Join(dir, old[0].Name()))
		old = old[1:]
	}
	return at, nil
}

// Write adds output of the engine, which must be escaped.
func (l *Writer) Write(p []byte) (int, error) { return l.f.Write(p) }

func logTimeOf(name string) (time.Time, error) {
	return time.Parse(logTime, strings.TrimSuffix(name, logExt))
}

// End writes words, which say how the build ended, and releases the lock. A log that
// cannot be written to fails no build.
func (l *Writer) End(words string) {
	if l == nil {
		return
	}
	fmt.Fprintln(l.f, LogEnd+words)
	l.f.Close()
}
