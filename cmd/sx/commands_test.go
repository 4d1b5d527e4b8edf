package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what scripts can say beyond testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":    exits,
	"await":    await,
	"commit":   commit,
	"events":   checkEvents,
	"examples": examples,
	"flip":     flip,
	"mirror":   serveMirror,
	"requests": requests,
}

func usage(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// exits CODE PROGRAM [ARG...] runs a program that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "exits CODE PROGRAM [ARG...]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await PATTERN GLOB waits until a file that GLOB names matches PATTERN.
func await(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "await PATTERN GLOB")
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob(ts.MkAbs(args[1]))
		ts.Check(err)
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && pattern.Match(data) {
				return
			}
		}
	}
	ts.Fatalf("nothing in %s matches %s", args[1], args[0])
}

// commit FILE... commits the files or folders, in a repository that it makes
// where there is none.
func commit(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "commit FILE...")
	if _, err := os.Stat(ts.MkAbs(".git")); err != nil {
		ts.Check(ts.Exec("git", "init", "-q"))
	}
	ts.Check(ts.Exec("git", append([]string{"add", "-A", "--"}, args...)...))
	ts.Check(ts.Exec("git", "commit", "-q", "--allow-empty", "-m", strings.Join(args, " ")))
}

// examples DIR copies the example tree, as it is committed, to DIR.
func examples(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "examples DIR")
	root, err := filepath.Abs("../../examples")
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	for _, dir := range []string{"packages", "fetch", "digests"} {
		ts.Check(os.CopyFS(ts.MkAbs(filepath.Join(args[0], dir)), os.DirFS(filepath.Join(root, dir))))
	}
}

// flip FILE changes a bit of the middle of a file and keeps its size, mode and
// mtime, as a failing disk does.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "flip FILE")
	name := ts.MkAbs(args[0])
	info, err := os.Stat(name)
	ts.Check(err)
	data, err := os.ReadFile(name)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.Chmod(name, 0o644))
	ts.Check(os.WriteFile(name, data, 0o644))
	ts.Check(os.Chmod(name, info.Mode()))
	ts.Check(os.Chtimes(name, info.ModTime(), info.ModTime()))
}

// mirrorLog are the requests that a script's mirror has seen: "GET /path".
type mirrorLog struct {
	mu   sync.Mutex
	seen []string
}

type mirrorKey struct{}

// mirror DIR serves a folder at http://$MIRROR until the script ends. What DIR
// does not have is not found; /paint answers with a status that would act on a
// terminal and on CI.
func serveMirror(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "mirror DIR")
	log := ts.Value(mirrorKey{}).(*mirrorLog)
	files := http.FileServer(http.Dir(ts.MkAbs(args[0])))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.mu.Lock()
		log.seen = append(log.seen, r.Method+" "+r.URL.Path)
		log.mu.Unlock()
		if r.URL.Path == "/paint" {
			paint(w)
			return
		}
		files.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	ts.Setenv("MIRROR", strings.TrimPrefix(s.URL, "http://"))
}

func paint(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte("HTTP/1.1 404 \x1b[2J##[error]MATCH\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

// requests [PATH...] compares the GETs that the mirror has seen, sorted, with
// those named, and forgets them.
func requests(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "requests [PATH...]")
	log := ts.Value(mirrorKey{}).(*mirrorLog)
	log.mu.Lock()
	defer log.mu.Unlock()
	var got []string
	for _, r := range log.seen {
		if path, ok := strings.CutPrefix(r, "GET "); ok {
			got = append(got, path)
		}
	}
	log.seen = nil
	slices.Sort(got)
	slices.Sort(args)
	if !slices.Equal(got, args) {
		ts.Fatalf("the mirror was asked for %s, want %s", list(got), list(args))
	}
}

func list(paths []string) string {
	if len(paths) == 0 {
		return "nothing"
	}
	return fmt.Sprint(paths)
}
