package worker

import (
	"bufio"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/progress"

	"codeberg.org/stagex/sx/buildkit"
)

// peakExecutor reports how much memory the processes of a RUN were seen to need,
// in the status of its step. It reads the cgroup's statistics itself, because BuildKit's
// monitor wants cgroups of version 2, and tells only a build history. The page
// cache does not count: the kernel takes it back.
type peakExecutor struct {
	executor.Executor
	parent   string // cgroup above the containers'
	hostname string // of every RUN, "" for its own
}

// Run implements executor.Executor.
func (e *peakExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	if id == "" {
		id = identity.NewID()
	}
	process.Meta.Hostname = cmp.Or(e.hostname, process.Meta.Hostname)
	ended := make(chan struct{})
	peak := make(chan int64)
	go func() { peak <- watchPeak(ended, filepath.Join(e.parent, "buildkit", id)) }()
	rec, err := e.Executor.Run(ctx, id, root, mounts, process, started)
	close(ended)
	if n := <-peak; n > 0 {
		tellPeak(ctx, n)
	}
	return rec, err
}

func tellPeak(ctx context.Context, bytes int64) {
	w, ok, _ := progress.NewFromContext(ctx)
	if !ok {
		return
	}
	now := time.Now()
	w.Write(buildkit.PeakStatus, progress.Status{Current: int(bytes), Started: &now, Completed: &now})
	w.Close()
}

// watchPeak returns the most that the cgroup had until ended closes; 0 where
// nothing was to be seen. It looks often at first and each second later.
func watchPeak(ended <-chan struct{}, group string) (peak int64) {
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, time.Second) {
		select {
		case <-ended:
			return peak
		case <-time.After(pause):
			peak = max(peak, memoryOf(group))
		}
	}
}

// memoryOf is what the processes of a cgroup have that is no file: "anon" and
// "shmem" of version 2, "total_rss" and "total_shmem" of version 1.
func memoryOf(group string) (bytes int64) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/memory"} {
		f, err := os.Open(filepath.Join(root, group, "memory.stat"))
		if err != nil {
			continue
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			switch name, value, _ := strings.Cut(lines.Text(), " "); name {
			case "anon", "shmem", "total_rss", "total_shmem":
				n, _ := strconv.ParseInt(value, 10, 64) // 0 where it is no number
				bytes += n
			}
		}
		return bytes
	}
	return 0
}
