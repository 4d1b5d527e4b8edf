package buildkit

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// watch reads the engine's status messages of a build.
type watch struct {
	job     Job
	started map[string]bool
	cached  bool  // a RUN came from the cache
	peak    int64 // the most memory that one RUN used, in bytes
	rlimit  bool  // runc could not set a limit
	full    bool  // a step failed for lack of space on this machine's disk

	violations []violation
}

// drain reads status until it closes, writes the plain log and reports steps.
func (w *watch) drain(ctx context.Context, status <-chan *client.SolveStatus) error {
	log := w.job.Log
	if log == nil {
		log = io.Discard
	}
	display, err := progressui.NewDisplay(log, progressui.PlainMode)
	if err != nil {
		for range status {
		}
		return err
	}
	shown := make(chan *client.SolveStatus)
	var eg errgroup.Group
	eg.Go(func() error { // ends when shown is closed below
		_, err := display.UpdateFrom(ctx, shown)
		for range shown { // a failing log must not block the build
		}
		return err
	})
	w.started = map[string]bool{}
	for s := range status {
		w.see(s)
		shown <- s
	}
	close(shown)
	return eg.Wait()
}

// see evaluates s and removes from it what is not for the log.
func (w *watch) see(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		if v.Cached && strings.Contains(v.Name, "] RUN ") {
			w.cached = true
		}
		if w.job.Step != nil && v.Started != nil && v.Completed == nil && !w.started[v.Digest.String()] {
			w.started[v.Digest.String()] = true
			w.job.Step(v.Name)
		}
	}
	for _, l := range s.Logs {
		w.rlimit = w.rlimit || bytes.Contains(l.Data, []byte("error setting rlimit"))
		w.full = w.full || w.job.disk != "" && noSpace().Match(l.Data) && diskFull(w.job.disk)
	}
	w.seeWarnings(s.Warnings)
	s.Statuses = slices.DeleteFunc(s.Statuses, func(v *client.VertexStatus) bool {
		if v.ID != PeakStatus {
			return false
		}
		w.peak = max(w.peak, v.Current)
		return true
	})
}

// PeakStatus is the ID of the status in which the embedded engine reports the most memory
// that a RUN used, in bytes.
const PeakStatus = "sx: peak memory"

// noSpace matches the message of ENOSPC.
var noSpace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)no space left on device`) })

// fullBelow is how many bytes may be free on a full disk: the failed write was larger, and
// some filesystems keep a reserve.
const fullBelow = 16 << 20

// diskFull reports whether the filesystem at path is full. It is called as soon as a step
// reports a full disk, because the files of a failed step are removed. The step may mean a
// tmpfs of its own instead.
func diskFull(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	return uint64(st.Bavail)*uint64(st.Bsize) < fullBelow || st.Files > 0 && st.Ffree == 0
}
