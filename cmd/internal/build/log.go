package build

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// The log of a build is .sx/logs/<output>/<time>.log: what the engine said of it,
// escaped, and a last line of sx's own that says how it ended. For as long as the
// build runs, its process holds a lock on the file, which ends with it however it
// ends. See Log for reading one.

const (
	logsDir  = "logs"
	keptLogs = 10 // of one output
	logTime  = "20060102T150405.000000000Z"
	logExt   = ".log"
)

// LogEnd begins the last line of a log. The engine begins none so.
const LogEnd = "sx: "

// buildLog is the log of a running build.
type buildLog struct {
	path string
	f    *os.File
}

// openLog begins a log and drops the oldest.
func (r *run) openLog(s *Step, at time.Time) (*buildLog, error) {
	dir, err := r.Store.Folder(logsDir, s.Output.Ref.String())
	if err != nil {
		return nil, err
	}
	old, err := os.ReadDir(dir) // by name, and so by time
	if err != nil {
		return nil, err
	}
	if len(old) > 0 { // the clock may have been set back since
		if last, err := logTimeOf(old[len(old)-1].Name()); err == nil && !at.After(last) {
			at = last.Add(1)
		}
	}
	for len(old) >= keptLogs {
		os.Remove(filepath.Join(dir, old[0].Name()))
		old = old[1:]
	}
	l := &buildLog{path: filepath.Join(dir, at.UTC().Format(logTime)+logExt)}
	l.f, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	// Where the filesystem has no locks nobody can follow the log; no reason not
	// to build.
	holdLog(l.f)
	return l, nil
}

func logTimeOf(name string) (time.Time, error) {
	return time.Parse(logTime, strings.TrimSuffix(name, logExt))
}

// end writes how the build ended and gives up the lock. A log that cannot be
// written to fails no build.
func (l *buildLog) end(res Result) {
	if l == nil {
		return
	}
	fmt.Fprintln(l.f, LogEnd+endWords(res))
	l.f.Close()
}

// endWords begin with the outcome, see [Log.Ended].
func endWords(res Result) string {
	said := fmt.Sprintf("%s after %s", res.Outcome, text.Duration(res.Elapsed))
	switch {
	case res.Err != nil:
		return said + ": " + text.Field(res.Err.Error())
	case res.Outcome == Built:
		return said + ": " + res.Digest.String()
	}
	return said
}
