package driver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// instant is an engine that answers at once, with an image of one small layer.
type instant struct{ *tree.Tree }

func (instant) Kind() string                                    { return "embedded" }
func (instant) Connect(context.Context) (*buildkit.Conn, error) { return nil, nil }
func (instant) Version(context.Context) (string, error)         { return "instant", nil }
func (instant) Snapshotter(context.Context) (string, error)     { return buildkit.Overlayfs, nil }
func (instant) CheckPlatforms(context.Context, []string) error  { return nil }
func (instant) Lost(context.Context) bool                       { return false }
func (instant) Away(err error) error                            { return err }
func (instant) Elsewhere() bool                                 { return false }
func (instant) Sent() int64                                     { return 0 }
func (instant) Close() error                                    { return nil }

func (instant) Probe(context.Context, *cache.Staging) (oci.Digest, error) {
	return oci.ParseDigest(buildkit.ProbeDigest)
}

func (i instant) Build(_ context.Context, job buildkit.Job) (*buildkit.Image, error) {
	return instantImage(job, i, job.Ref.String())
}

// instantImage is the result of a job with a layer of that text.
func instantImage(job buildkit.Job, i instant, layer string) (*buildkit.Image, error) {
	d, err := fakeImage(job.Into, i.Graph.Output(job.Ref), []byte(layer))
	return &buildkit.Image{Index: ocispecs.Descriptor{
		MediaType: d.MediaType, Digest: digest.Digest(d.Digest.String()), Size: d.Size,
	}}, err
}

// unseen is a Status that shows nothing.
type unseen struct{}

func (unseen) Sources() fetch.Status       { return transfer.Silent[fetch.Source]{} }
func (unseen) Waiting(string)              {}
func (unseen) Begin(*plan.Plan)            {}
func (unseen) Start(*plan.Step)            {}
func (unseen) Progress(*plan.Step, string) {}
func (unseen) Finish(*plan.Step, Result)   {}
func (unseen) Estimate(time.Duration)      {}
func (unseen) Warn(string)                 {}

// BenchmarkShare is what a build of everything costs beside the engine, which answers at
// once: trees of StageX's shape are read, planned, scheduled, built, committed and judged.
// Put TMPDIR on a tmpfs, or measure the disk too.
func BenchmarkShare(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as collectLate of cmd/sx
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(5 << 28))
	for _, copies := range []int{1, 100} {
		b.Run(fmt.Sprint(513*copies), func(b *testing.B) {
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				writeShaped(b, dir, copies)
				writeSources(b, dir)
				forgetPeak(b)
				before := cpu(b)
				b.StartTimer()
				if n := buildInstantly(b, dir); n != 513*copies {
					b.Fatalf("%d outputs are MATCH or UNPUBLISHED", n)
				}
				spent += cpu(b) - before
			}
			b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s")
			b.ReportMetric(float64(peak(b))/1e6, "peak-MB")
		})
	}
}

// buildInstantly builds the tree in dir and returns how many outputs it judged as built
// here.
func buildInstantly(t testing.TB, dir string) (built int) {
	t.Helper()
	view, err := tree.Open(t.Context(), dir, tree.Options{KeyFile: filepath.Join(dir, "key"), Build: "benchmark"})
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	report, err := Build(t.Context(), view, view.Graph.All(), Options{
		Engines: []fleet.Member{{Engine: instant{}}}, Version: "benchmark", Status: unseen{}, Offline: true,
		Capacity: func() schedule.Capacity { return schedule.Capacity{Jobs: runtime.GOMAXPROCS(0)} },
		dial:     func(fleet.Member) (builder, error) { return instant{view.Tree}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range (&verdict.Judge{View: report.View}).All(view.Graph.All()) {
		if v.Word == verdict.Unpublished {
			built++
		}
	}
	return built
}

// writeSources puts the sources of a tree that writeShaped wrote into fetch/.
func writeSources(t testing.TB, dir string) {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(dir, "packages/*/*/package.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range manifests {
		name := filepath.Base(filepath.Dir(path))
		stage := filepath.Base(filepath.Dir(filepath.Dir(path)))
		edit(t, filepath.Join(dir, "fetch", stage, name, name+"-1.2.3.tar.xz"), name)
	}
}

// cpu returns the processor time of this process so far.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var spent syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &spent); err != nil {
		t.Fatal(err)
	}
	return time.Duration(spent.Utime.Nano() + spent.Stime.Nano())
}

// forgetPeak lets peak begin again.
func forgetPeak(t testing.TB) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// peak returns the most memory that this process had since forgetPeak, in bytes.
func peak(t testing.TB) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}
