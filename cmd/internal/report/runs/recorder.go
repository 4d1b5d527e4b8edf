package runs

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/events"
)

// NewID returns a name for a run that begins at a time. Names sort by time.
func NewID(at time.Time) string {
	var random [3]byte
	rand.Read(random[:])
	return at.UTC().Format(idTime) + "-" + hex.EncodeToString(random[:])
}

// Recorder keeps a run. Its calls are serialised by the caller.
type Recorder struct {
	id   string
	make func() (dir string, err error)

	early    []events.Event // before the run did anything
	lines    chan string    // nil until it did
	ended    sync.WaitGroup
	file     *os.File
	bytes    int64
	lost     int
	progress map[string]time.Time // when a download's progress was last kept
}

// NewRecorder returns a Recorder. make makes the folder runs/ and is called only if
// there is something to keep; if it fails the run is not kept, which fails nothing.
func NewRecorder(id string, make func() (dir string, err error)) *Recorder {
	return &Recorder{id: id, make: make, progress: map[string]time.Time{}}
}

// maxEarly bounds the events that are held back until the run does something.
const maxEarly = 100

// progressEvery is the time between two events of a download's progress that are kept.
const progressEvery = 5 * time.Second

// Observe takes an event. It never waits for the disk.
func (r *Recorder) Observe(e events.Event) {
	if r.lines == nil {
		if !begins(e) {
			if len(r.early) < maxEarly {
				r.early = append(r.early, e)
			}
			return
		}
		r.start()
	}
	if r.file != nil && r.wanted(e) {
		r.keep(e)
	}
	if e.Event == events.RunEnd {
		r.close()
	}
}

// begins reports whether e shows that the run does something.
func begins(e events.Event) bool {
	switch e.Event {
	case events.BuildBegin, events.FetchStart, events.FetchFail, events.PreseedStart, events.PreseedFail:
		return true
	}
	return false
}

// wanted reports whether e is kept: of progress only some.
func (r *Recorder) wanted(e events.Event) bool {
	switch e.Event {
	case events.BuildLeft:
		return false
	case events.FetchProgress, events.PreseedProgress:
		if e.Time.Sub(r.progress[e.Key()]) < progressEvery {
			return false
		}
		r.progress[e.Key()] = e.Time
	case events.FetchDone, events.PreseedDone:
		delete(r.progress, e.Key())
	}
	return true
}

func (r *Recorder) start() {
	r.lines = make(chan string, 1<<13)
	dir, err := r.make()
	if err != nil {
		return
	}
	prune(dir)
	path := filepath.Join(dir, r.id+partExt)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	disk.Flock(f, unix.LOCK_EX) // without locks on this filesystem the run looks killed while it goes on
	r.file = f
	r.ended.Go(func() { r.write(f) })
	for _, e := range r.early {
		r.keep(e)
	}
	r.early = nil
}

// reserve is room for what ends a run.
const reserve = 1 << 20

// keep appends e, unless the run is too long or the disk too slow.
func (r *Recorder) keep(e events.Event) {
	line := events.Line(e)
	limit := int64(MaxRun)
	switch e.Event {
	case events.BuildFinish, events.Verdict, events.RunEnd:
	default:
		limit -= reserve
	}
	if r.bytes+int64(len(line)) > limit {
		r.lost++
		return
	}
	select {
	case r.lines <- line:
		r.bytes += int64(len(line))
	default:
		r.lost++
	}
}

// write writes what keep appended, until close. After an error, as on a full disk, the
// rest is lost.
func (r *Recorder) write(f *os.File) {
	var failed error
	for line := range r.lines {
		if failed == nil {
			_, failed = f.WriteString(line)
		}
	}
}

// closeTime is how long the end of a run waits for a disk that hangs: what was kept of it is
// readable as that of a run that was killed.
const closeTime = 10 * time.Second

// close ends the file.
func (r *Recorder) close() {
	if r.file == nil {
		return
	}
	f, lost, ended := r.file, r.lost, make(chan struct{})
	r.file = nil
	go func() {
		defer close(ended)
		if lost > 0 {
			r.lines <- events.Line(events.Event{Time: time.Now().UTC(), Event: events.Lost, Events: &lost})
		}
		close(r.lines)
		r.ended.Wait()
		keepFile(f)
	}()
	select {
	case <-ended:
	case <-time.After(closeTime):
	}
}

// keepFile syncs a file that is complete, and gives it its name.
func keepFile(f *os.File) {
	defer f.Close()
	path := f.Name()
	if f.Sync() != nil {
		return
	}
	kept := path[:len(path)-len(partExt)] + keptExt
	if os.Rename(path, kept) == nil {
		disk.SyncDir(filepath.Dir(kept))
	}
}

// prune removes the oldest runs, so that there is room for one more.
func prune(dir string) {
	entries, err := os.ReadDir(dir) // by name, and so by time
	if err != nil {
		return
	}
	var total int64
	kept := 0
	for i := len(entries) - 1; i >= 0; i-- {
		_, ext := cutExt(entries[i].Name())
		if ext == "" || !entries[i].Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, entries[i].Name())
		if info, err := entries[i].Info(); err == nil {
			total += info.Size()
		}
		if kept++; kept < KeptRuns && total <= MaxTotal || ext == partExt && held(path) {
			continue
		}
		os.Remove(path)
	}
}

// held reports whether a process holds the lock of the file.
func held(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return locked(f)
}

// locked takes the lock for a moment: its owner took it long before it told of the file.
func locked(f *os.File) bool {
	return disk.Flock(f, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
