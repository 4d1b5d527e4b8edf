package driver

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// BenchmarkNoOp measures whole processes on trees in which every output is up to
// date: sx build --all; sx build --all --dry-run after each edit of a comment in a
// definition that nearly all outputs depend on; and before both sx graph without a
// memory. If SX_TEST_TREE names a StageX checkout, it measures make on the same tree
// too, where "build" is "make -n" after the edit.
//
// cpu-ms is the user and system time of the processes, which other load disturbs
// least; min-ms is the shortest time by the clock.
func BenchmarkNoOp(b *testing.B) {
	sx := filepath.Join(b.TempDir(), "sx")
	build := exec.Command("go", "build", "-o", sx, "codeberg.org/stagex/sx/cmd/sx")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.Run("513", func(b *testing.B) { benchmarkNoOp(b, sx, func(dir string) { writeShaped(b, dir, 1) }) })
	b.Run("51300", func(b *testing.B) { benchmarkNoOp(b, sx, func(dir string) { writeShaped(b, dir, 100) }) })
	if stagex := os.Getenv("SX_TEST_TREE"); stagex != "" {
		b.Run("StageX", func(b *testing.B) { benchmarkNoOp(b, sx, func(dir string) { copyTree(b, stagex, dir) }) })
	}
}

func benchmarkNoOp(b *testing.B, sx string, write func(dir string)) {
	dir, state := b.TempDir(), b.TempDir()
	write(dir)
	env := append(os.Environ(), "HOME="+state, "XDG_STATE_HOME="+state, "XDG_CONFIG_HOME="+state)
	tree, err := tree.Open(b.Context(), dir, tree.Options{KeyFile: filepath.Join(state, "sx", "record.key")})
	if err != nil {
		b.Fatal(err)
	}
	fakeBuild(b, tree.Tree, versionOf(b, sx))
	hub := mostNeeded(tree.Tree)
	if err := tree.Close(); err != nil {
		b.Fatal(err)
	}
	forget := func() { os.RemoveAll(dir + "/.sx/memory") }
	b.Run("sx-graph-cold", func(b *testing.B) { measure(b, forget, dir, env, sx, "graph", "core") })
	settle(b, dir, func() { process(b, dir, env, sx, "build", "--all") })
	b.Run("sx", func(b *testing.B) { measure(b, nil, dir, env, sx, "build", "--all") })
	b.Run("sx-complete", func(b *testing.B) { measure(b, nil, dir, env, sx, "__complete", "build", "core-") })
	_, err = os.Stat(dir + "/Makefile")
	if err == nil {
		process(b, dir, env, "make", "BUILDER=false", "all")
		b.Run("make", func(b *testing.B) { measure(b, nil, dir, env, "make", "BUILDER=false", "all") })
	}
	data, rerr := os.ReadFile(hub)
	if rerr != nil {
		b.Fatal(rerr)
	}
	edits := 0
	change := func() {
		edits++
		edit(b, hub, fmt.Sprintf("# edited %d times\n%s", edits, data))
	}
	b.Run("sx-edited", func(b *testing.B) { measure(b, change, dir, env, sx, "build", "--all", "--dry-run") })
	if err == nil {
		b.Run("make-edited", func(b *testing.B) { measure(b, change, dir, env, "make", "-n", "BUILDER=false", "all") })
	}
}

// settle calls run until the memory does not change any more: files that are too
// young are read again.
func settle(b *testing.B, dir string, run func()) {
	b.Helper()
	var last string
	for range 50 {
		run()
		now := memoryFiles(b, dir)
		if now == last {
			return
		}
		last = now
	}
	b.Fatal("there is always something new to remember")
}

// memoryFiles returns the files of .sx/memory and when each was written.
func memoryFiles(b *testing.B, dir string) (files string) {
	b.Helper()
	paths, _ := filepath.Glob(dir + "/.sx/memory/*")
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		files += path + info.ModTime().String() + "\n"
	}
	return files
}

func versionOf(b *testing.B, sx string) string {
	b.Helper()
	out, err := exec.Command(sx, "version", "--json").Output()
	var v struct{ Version, Build string }
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	if err != nil {
		b.Fatal(err)
	}
	return v.Version + " " + v.Build
}

// mostNeeded returns the Containerfile of the definition that most others name.
func mostNeeded(t *tree.Tree) string {
	most, at := -1, ""
	for _, o := range t.Graph.Outputs() {
		if n := len(t.Graph.Dependents(o.Ref)); n > most {
			most, at = n, filepath.Join(t.Dir, o.Definition.Dir, "Containerfile")
		}
	}
	return at
}

// measure calls before, if it is not nil, and then measures the command.
func measure(b *testing.B, before func(), dir string, env []string, name string, args ...string) {
	var cpu time.Duration
	least := time.Duration(math.MaxInt64)
	for b.Loop() {
		if before != nil {
			before()
		}
		began := time.Now()
		state := process(b, dir, env, name, args...)
		least = min(least, time.Since(began))
		cpu += state.UserTime() + state.SystemTime()
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(cpu)/float64(b.N), "cpu-ms/op")
	b.ReportMetric(ms(least), "min-ms")
}

func process(b *testing.B, dir string, env []string, name string, args ...string) *os.ProcessState {
	b.Helper()
	c := exec.Command(name, args...)
	var out strings.Builder
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, env, &out, &out
	if err := c.Run(); err != nil {
		b.Fatalf("%s %q: %v\n%.2000s", name, args, err, out.String())
	}
	return c.ProcessState
}
