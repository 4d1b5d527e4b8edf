package fetch

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// childEnv holds a childTask as JSON where the test binary is to be an sx.
const childEnv = "SX_FETCH_TEST_CHILD"

type childTask struct {
	Tree    string
	Sources []Source
}

func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		os.Exit(child(task))
	}
	os.Exit(m.Run())
}

// child runs the task and prints a line for each thing that its Status is told.
func child(text string) int {
	var task childTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		panic(err)
	}
	_, err := Run(context.Background(), task.Sources, Options{
		Tree:    task.Tree,
		Status:  printer{},
		Backoff: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

type printer struct{}

func (printer) Begin(int)                                       { fmt.Println("begin") }
func (printer) Start(s Source, mirror string, done, size int64) { fmt.Println("start", s.Path, done) }
func (printer) Advance(s Source, done, size int64)              { fmt.Println("advance", s.Path, done) }
func (printer) Done(s Source, how string)                       { fmt.Println("done", s.Path, how) }
func (printer) Fail(s Source, mirror string, err error)         { fmt.Println("fail", s.Path, err) }
func (printer) Warn(string)                                     {}
func (printer) End()                                            { fmt.Println("end") }

// spawn starts a child and calls each for its lines, until it ends.
func spawn(t *testing.T, tree string, sources []Source, each func(c *exec.Cmd, n int, line string)) error {
	task, err := json.Marshal(childTask{tree, sources})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+string(task))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		each(c, n, lines.Text())
	}
	io.Copy(io.Discard, out)
	return c.Wait()
}

// library serves files by number and makes the sources that want them: every
// third file is wanted under two paths.
func library(t *testing.T, files, size int, handler func(data []byte) http.HandlerFunc) (*site, []Source) {
	all := map[string][]byte{}
	for i := range files {
		all[fmt.Sprintf("/%d", i)] = noise(uint64(i), size)
	}
	lib := serve(t, func(w http.ResponseWriter, r *http.Request) { handler(all[r.URL.Path])(w, r) })
	var sources []Source
	for i := range files {
		path := fmt.Sprintf("/%d", i)
		s := source(path[1:], all[path], lib.URL+path)
		sources = append(sources, s)
		if i%3 == 0 {
			s.Path = fmt.Sprintf("fetch/user/y%d/copy", i)
			sources = append(sources, s)
		}
	}
	return lib, sources
}

// pieces serves in pieces of 64 KiB, so that there is something to interrupt.
func pieces(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		whole(data)(flushing{w}, r)
	}
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	http.NewResponseController(f.ResponseWriter).Flush()
	return n, err
}

// Killed at any moment, a run leaves whole files or none under final names, and
// the next one goes on.
func TestKill(t *testing.T) {
	w := newWorld(t)
	_, sources := library(t, 12, 1<<20, pieces)
	killed := 0
	for round := range 15 {
		at := rand.N(3 * len(sources))
		err := spawn(t, w.dir, sources, func(c *exec.Cmd, n int, line string) {
			if n == at {
				c.Process.Kill()
			}
		})
		if err != nil {
			killed++
		}
		wantWholeOrNone(t, w, sources)
		if round%3 == 2 { // something to do for the next ones
			os.RemoveAll(filepath.Join(w.dir, "fetch"))
		}
	}
	if killed < 5 {
		t.Errorf("only %d of 15 runs were killed", killed)
	}
	rep := w.must(sources...)
	w.wantFiles(".sx")
	t.Logf("%d killed; the last run took %d of %d bytes", killed, rep.Bytes, 12<<20)
}

// What a killed run had, the next one does not ask for again.
func TestKillAndResume(t *testing.T) {
	w := newWorld(t)
	var first atomic.Bool
	first.Store(true)
	lib, sources := library(t, 1, 1<<20, func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if first.Swap(false) {
				w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				w.Write(data[:1<<19])
				hang(w, r)
				return
			}
			whole(data)(w, r)
		}
	})
	part := filepath.Join(w.dir, ".sx/fetch", sources[0].Hash.String()+".part")
	spawn(t, w.dir, sources, func(c *exec.Cmd, n int, line string) {
		for strings.HasPrefix(line, "start") {
			if info, err := os.Stat(part); err == nil && info.Size() == 1<<19 {
				c.Process.Kill()
				return
			}
			runtime.Gosched()
		}
	})
	if rep := w.must(sources...); rep.Bytes != 1<<19 {
		t.Errorf("%d bytes from the network, want the second half", rep.Bytes)
	}
	lib.wantRequests(t, 2)
}

// wantWholeOrNone allows nothing else under fetch/.
func wantWholeOrNone(t *testing.T, w *world, sources []Source) {
	t.Helper()
	known := map[string]bool{}
	for _, s := range sources {
		known[s.Path] = true
		if _, err := os.Lstat(filepath.Join(w.dir, s.Path)); err == nil {
			w.wantWhole(s)
		}
	}
	filepath.Walk(filepath.Join(w.dir, "fetch"), func(p string, info os.FileInfo, err error) error {
		if rel, _ := filepath.Rel(w.dir, p); err == nil && !info.IsDir() && !known[rel] {
			t.Errorf("stray file %s", rel)
		}
		return nil
	})
}

// Two runs of one tree at once share the work: each file comes once, and a
// wrong one under a final name is moved away by one of them only.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	both := make(chan struct{})
	lib, sources := library(t, 12, 1<<18, func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			<-both
			pieces(data)(w, r)
		}
	})
	for i, s := range sources {
		if i%4 == 0 {
			w.write(s.Path, []byte("wrong"))
		}
	}
	var begun, fetched atomic.Int64
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			err := spawn(t, w.dir, sources, func(c *exec.Cmd, n int, line string) {
				if line == "begin" && begun.Add(1) == 2 {
					close(both)
				}
				if strings.HasSuffix(line, Fetched) {
					fetched.Add(1)
				}
				if strings.HasPrefix(line, "fail") || strings.HasPrefix(line, "error") {
					t.Error(line)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if fetched.Load() != 12 {
		t.Errorf("%d files fetched by the two, want 12", fetched.Load())
	}
	lib.wantRequests(t, 12)
	w.wantWhole(sources...)
}

// The same within one process.
func TestTwoRunsInOneProcess(t *testing.T) {
	w := newWorld(t)
	lib, sources := library(t, 6, 1<<18, pieces)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			if _, err := newWorld(t).runWith(Options{Tree: w.dir, TempDir: w.opts.TempDir}, sources...); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	lib.wantRequests(t, 6)
	w.wantWhole(sources...)
}

// Who waits for another's lock can be cancelled.
func TestWaitingIsCancelled(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 10)
	s := source("a", data)
	tr, err := openTree(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	tmp, err := openTemp(tr, w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.close()
	p, err := tmp.openPart(t.Context(), s.Hash, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := fmt.Errorf("stop")
	go cancel(stop)
	if _, err := Run(ctx, []Source{s}, w.opts); err != stop {
		t.Errorf("Run: %v, want the cause", err)
	}
}
