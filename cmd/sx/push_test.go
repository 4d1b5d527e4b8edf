package main

import (
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"codeberg.org/stagex/sx/preseed/registrytest"
)

func init() {
	commands["registry"], commands["registered"], commands["got"] = startRegistry, registered, got
	commands["forbid"] = forbid
}

// emptied is an empty registry that a script pushes to.
type emptied struct {
	http.Handler
	mu   sync.Mutex
	seen []string // methods of requests, but the pings
	no   string   // what the path of a PUT must not end in
	dead bool     // it never answers again, from such a PUT on
}

func (e *emptied) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v2/" {
		e.mu.Lock()
		e.seen = append(e.seen, r.Method)
		no := e.no != "" && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, strings.TrimPrefix(e.no, "!"))
		e.dead = e.dead || no && strings.HasPrefix(e.no, "!")
		dead := e.dead
		e.mu.Unlock()
		if dead {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		if no {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"not today"}]}`, http.StatusForbidden)
			return
		}
	}
	e.Handler.ServeHTTP(w, r)
}

var emptyRegistries sync.Map // host -> *emptied

// registry [debian] starts an empty registry, $REGISTRY, until the script ends:
// go-containerregistry's in this process, or docker's own.
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) <= 1, "registry [debian]")
	if len(args) == 1 {
		startDebian(ts)
		return
	}
	e := &emptied{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s := httptest.NewServer(e)
	ts.Defer(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	emptyRegistries.Store(host, e)
	ts.Setenv("REGISTRY", host)
}

// forbid [END] makes the registry refuse to take what has a path with that end; with !END it
// dies of it, and answers nothing more until the next forbid.
func forbid(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) <= 1, "forbid [END]")
	e := theRegistry(ts)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.no, e.dead = strings.Join(args, ""), false
}

func startDebian(ts *testscript.TestScript) {
	dir := ts.MkAbs("docker-registry")
	ts.Check(os.MkdirAll(dir, 0o755))
	r, err := registrytest.Start(dir, true)
	ts.Check(err)
	ts.Defer(r.Close)
	ts.Setenv("REGISTRY", r.Host)
	login := base64.StdEncoding.EncodeToString([]byte(registrytest.User + ":" + registrytest.Password))
	ts.Setenv("LOGIN", login)
}

func theRegistry(ts *testscript.TestScript) *emptied {
	e, ok := emptyRegistries.Load(ts.Getenv("REGISTRY"))
	if !ok {
		ts.Fatalf("no registry was started")
	}
	return e.(*emptied)
}

// registered NAME:TAG [DIGEST] wants a manifest in the registry, one with that digest
// or naming it.
func registered(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1 || len(args) == 2, "registered NAME:TAG [DIGEST]")
	name, tag, _ := strings.Cut(args[0], ":")
	req := httptest.NewRequest(http.MethodGet, "/v2/"+name+"/manifests/"+tag, nil)
	req.Header.Set("Accept", "*/*")
	w := httptest.NewRecorder()
	theRegistry(ts).Handler.ServeHTTP(w, req)
	found := w.Code == http.StatusOK
	if len(args) == 2 {
		found = found && (strings.Contains(w.Body.String(), args[1]) || strings.Contains(w.Header().Get("Docker-Content-Digest"), args[1]))
	}
	if found == neg {
		ts.Fatalf("the registry says of %s: %d %s", args[0], w.Code, w.Body)
	}
}

// got METHOD... compares the requests since the last time with those named, sorted;
// * stands for any.
func got(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "got [METHOD...]")
	e := theRegistry(ts)
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.Sort(e.seen)
	if !slices.Equal(e.seen, args) && !slices.Equal(args, []string{"*"}) {
		ts.Fatalf("the registry got %s, want %s", list(e.seen), list(args))
	}
	e.seen = nil
}
