package runs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
)

// State says how far a run got.
type State string

// The states.
const (
	Running     State = "running"
	Ended       State = "ended"
	Interrupted State = "interrupted" // its sx was killed, or the file was cut
)

// Run is a kept run.
type Run struct {
	ID      string
	State   State
	Events  []events.Event
	Damaged int // lines that are no events
}

// Missing reports that there is no such run, or more than one.
type Missing struct{ Message string }

func (e *Missing) Error() string { return e.Message }

var idPattern = sync.OnceValue(func() *regexp.Regexp { // no-ops need none
	return regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{6}$`)
})

// cutExt splits the name of a file of a run. ext is "" for other names.
func cutExt(name string) (id, ext string) {
	for _, ext := range []string{partExt, keptExt} {
		if id, ok := strings.CutSuffix(name, ext); ok && idPattern().MatchString(id) {
			return id, ext
		}
	}
	return "", ""
}

// List returns the names of the runs of a state folder, the newest first.
func List(state string) ([]string, error) {
	names, err := files(state)
	var ids []string
	for _, name := range slices.Backward(names) {
		id, _ := cutExt(name)
		if len(ids) == 0 || ids[len(ids)-1] != id { // renamed while the folder was read
			ids = append(ids, id)
		}
	}
	return ids, err
}

// files lists the files of runs, sorted.
func files(state string) (names []string, err error) {
	root, err := os.OpenRoot(state) // a tree may bring a .sx of links
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the kept runs: %w", err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxEntries)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the kept runs: %w", err)
	}
	for _, e := range entries {
		if _, ext := cutExt(e.Name()); ext != "" && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Find returns the name of the run that word means: "" and "last" the newest, else the
// beginning of one name. The error is a *Missing.
func Find(state, word string) (string, error) {
	ids, err := List(state)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", &Missing{"no run is kept: sx has built or downloaded nothing in this tree"}
	case word == "" || word == "last":
		return ids[0], nil
	}
	like := slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, word) })
	switch len(like) {
	case 1:
		return like[0], nil
	case 0:
		return "", &Missing{fmt.Sprintf("there is no run %q; sx history lists the runs", word)}
	}
	return "", &Missing{fmt.Sprintf("%d runs begin with %q: %s; name one", len(like), word, strings.Join(like[:min(len(like), 5)], ", "))}
}

// Read reads a run as far as it can be read.
func Read(state, id string) (*Run, error) {
	r := &Run{ID: id, State: Interrupted}
	data, running, err := r.load(state)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		e, err := events.Parse(line)
		if err != nil {
			if !running || bytes.HasSuffix(line, []byte("\n")) { // else it is being written
				r.Damaged++
			}
			continue
		}
		r.Events = append(r.Events, e)
		if e.Event == events.RunEnd {
			r.State = Ended
		}
	}
	if running && r.State != Ended {
		r.State = Running
	}
	return r, nil
}

// load returns the bytes of a run, at most [MaxRun] and some more.
func (r *Run) load(state string) (data []byte, running bool, err error) {
	root, err := os.OpenRoot(state)
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	var f *os.File
	for _, ext := range []string{keptExt, partExt, keptExt} { // it may be renamed meanwhile
		f, err = root.OpenFile(filepath.Join(folder, r.ID+ext), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the run %s: %w", r.ID, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, false, errors.Join(err, fmt.Errorf("reading the run %s: it is not a regular file", r.ID))
	}
	running = strings.HasSuffix(f.Name(), partExt) && locked(f)
	data, err = io.ReadAll(io.LimitReader(f, MaxRun+reserve))
	return data, running, err
}

// Began returns when a run began, by its name.
func Began(id string) time.Time {
	stamp, _, _ := strings.Cut(id, "-")
	at, _ := time.Parse(idTime, stamp)
	return at
}

// Newest returns a text that changes when a new run begins or the newest one goes on, ""
// if there is none.
func Newest(state string) (string, error) {
	names, err := files(state)
	if err != nil || len(names) == 0 {
		return "", err
	}
	name := names[len(names)-1]
	root, err := os.OpenRoot(state)
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Lstat(filepath.Join(folder, name))
	if errors.Is(err, fs.ErrNotExist) { // renamed: it has ended
		return name, nil
	} else if err != nil {
		return "", err
	}
	stamp := fmt.Sprintf("%s-%d", name, info.Size())
	if strings.HasSuffix(name, partExt) { // what runs takes longer and longer, also without an event
		stamp += fmt.Sprintf("-%d", time.Now().Unix()/10)
	}
	return stamp, nil
}
