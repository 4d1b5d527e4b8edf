package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

const trivial = `
-- packages/core/trivial/package.toml --
[package]
name = "trivial"
version = "1"
-- packages/core/trivial/Containerfile --
FROM scratch
COPY file /
-- packages/core/trivial/file --
0
`

// bench builds one file on one engine.
type bench struct {
	*Tree
	store    *cache.Store
	engine   *embedded.Engine
	builder  *buildkit.Builder
	contexts int // so far: no engine has seen the next one
}

func newBench(b *testing.B) *bench {
	b.Helper()
	t := &bench{Tree: NewTree(b, programs, "", trivial)}
	var err error
	t.store, err = cache.Open(t.Dir, cache.Options{KeyFile: filepath.Join(b.TempDir(), "key")})
	t.must(err)
	t.engine = &embedded.Engine{Dir: t.store.Dir("engine"), Store: t.store, Executable: programs.Sx()}
	t.builder = t.open()
	b.Cleanup(func() { t.builder.Close() })
	return t
}

func (t *bench) open() *buildkit.Builder {
	b, err := buildkit.Open(t.t.Context(), t.engine, buildkit.Options{Store: t.store})
	t.must(err)
	return b
}

// next changes the file, if the build is to be cold.
func (t *bench) next(cold bool) (*graph.Output, []graph.File) {
	if cold {
		t.contexts++
		t.Write("packages/core/trivial/file", fmt.Appendf(nil, "%d\n", t.contexts))
	}
	tree := os.DirFS(t.Dir)
	g, err := graph.Load(t.t.Context(), tree, graph.LoadOptions{})
	t.must(err)
	o := g.Outputs()[0]
	files, err := graph.Snapshot(tree, o.Definition)
	t.must(err)
	return o, files
}

// build builds and commits one output as sx does, without a record.
func (t *bench) build(o *graph.Output, files []graph.File) {
	into, err := t.store.Stage(o.Ref.String())
	t.must(err)
	defer into.Close()
	img, err := t.builder.Build(t.t.Context(), buildkit.Job{Ref: o.Ref, Request: o.Request(nil), Files: files, Into: into})
	t.must(err)
	index, err := oci.ParseDigest(img.Index.Digest.String())
	t.must(err)
	_, err = into.Commit(t.t.Context(), oci.Descriptor{MediaType: img.Index.MediaType, Digest: index, Size: img.Index.Size}, img.Annotations)
	t.must(err)
}

// BenchmarkTrivial builds FROM scratch, COPY file: cold (another file each time) and
// cached, through sx's Builder and by buildctl on the same engine, with and without
// upstream's tar.
func BenchmarkTrivial(b *testing.B) {
	if err := programs.BuildStock("buildctl"); err != nil {
		b.Fatal(err)
	}
	t := newBench(b)
	for _, cold := range []bool{true, false} {
		name := map[bool]string{true: "cold", false: "cached"}[cold]
		run := func(by string, build func(*graph.Output, []graph.File)) {
			b.Run(name+"/"+by, func(b *testing.B) {
				build(t.next(false))
				for b.Loop() {
					b.StopTimer()
					o, files := t.next(cold)
					b.StartTimer()
					build(o, files)
				}
			})
		}
		run("sx", t.build)
		run("buildctl", func(o *graph.Output, _ []graph.File) { t.buildctl(b, o, false) })
		run("buildctl-tar", func(o *graph.Output, _ []graph.File) { t.buildctl(b, o, true) })
	}
}

// buildctl runs buildctl on the embedded engine.
func (t *bench) buildctl(b *testing.B, o *graph.Output, tar bool) {
	sockets, err := filepath.Glob(filepath.Join(t.engine.Dir, "*.sock"))
	if err != nil || len(sockets) != 1 {
		b.Fatalf("engine sockets %v, %v", sockets, err)
	}
	s := &Stock{t: b, buildctl: programs.path("buildctl"), addr: "unix://" + sockets[0]}
	if tar {
		t.must(os.RemoveAll(t.Path("out")))
		s.Build(t.Tree, step{o.Ref.String(), o.Request(nil)})
		return
	}
	r := o.Request(nil)
	t.mkdir(r.Fetch)
	if out, err := exec.Command(s.buildctl, s.Args(t.Tree, r, "tar=false,dest="+t.Path("dest"))...).CombinedOutput(); err != nil {
		b.Fatalf("buildctl: %v\n%s", err, out)
	}
}

// BenchmarkEngineStart measures starting an engine and connecting to it.
func BenchmarkEngineStart(b *testing.B) {
	t := newBench(b)
	for b.Loop() {
		b.StopTimer()
		t.builder.Close()
		t.stopEngine()
		b.StartTimer()
		t.builder = t.open()
	}
}

// BenchmarkAttach measures connecting to a running engine.
func BenchmarkAttach(b *testing.B) {
	t := newBench(b)
	for b.Loop() {
		t.open().Close()
	}
}

// BenchmarkSx measures the whole program: with nothing to do, and rebuilding one
// trivial output on a running engine and without one.
func BenchmarkSx(b *testing.B) {
	t := newBench(b)
	for _, c := range []struct {
		name string
		args []string
		stop bool
	}{
		{"nothing", []string{"build", "--all"}, false},
		{"cached", []string{"build", "--all", "--no-cache"}, false},
		{"start", []string{"build", "--all", "--no-cache"}, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			t.builder.Close()
			t.Sx("build", "--all")
			for b.Loop() {
				b.StopTimer()
				if c.stop {
					t.stopEngine()
				}
				b.StartTimer()
				t.Sx(c.args...)
			}
		})
	}
}
