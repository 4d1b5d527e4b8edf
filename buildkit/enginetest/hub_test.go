package enginetest

import (
	"encoding/pem"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/stagex/sx/preseed/registrytest"
)

// hub is docker's registry behind a front that wants tokens, gives them for a password,
// and can be made to misbehave.
type hub struct {
	*httptest.Server
	mu        sync.Mutex
	behind    http.Handler
	misbehave func(w http.ResponseWriter, r *http.Request) bool
	tokens    int
	passwords int // sent to anything but the token server
}

const hubToken = "a-token"

func startHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{behind: emptyRegistry(t)}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// startHubTLS also returns the file of the authority that its certificate is of.
func startHubTLS(t *testing.T) (h *hub, ca string) {
	t.Helper()
	h = &hub{behind: emptyRegistry(t)}
	h.Server = httptest.NewTLSServer(h)
	t.Cleanup(h.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	if err := os.WriteFile(ca, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return h, ca
}

func emptyRegistry(t *testing.T) http.Handler {
	t.Helper()
	r, err := registrytest.Start(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: r.Host})
		p.Out.Host = p.In.Host
		if p.In.TLS != nil { // of the addresses that the registry answers with
			p.Out.Header.Set("X-Forwarded-Proto", "https")
		}
	}}
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	behind, misbehave := h.behind, h.misbehave
	user, password, basic := r.BasicAuth()
	switch {
	case r.URL.Path == "/token":
		h.tokens++
	case basic:
		h.passwords++
	}
	h.mu.Unlock()
	switch {
	case r.URL.Path == "/token" && user == registrytest.User && password == registrytest.Password:
		fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, hubToken)
	case r.URL.Path == "/token":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Header.Get("Authorization") != "Bearer "+hubToken:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="hub"`, h.URL))
		w.WriteHeader(http.StatusUnauthorized)
	case misbehave != nil && misbehave(w, r):
	default:
		behind.ServeHTTP(w, r)
	}
}

// set makes the hub misbehave.
func (h *hub) set(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.misbehave = f
}

// flip answers with another last byte of a blob.
func (h *hub) flip(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/sha256:") {
		return false
	}
	right := httptest.NewRecorder()
	h.behind.ServeHTTP(right, r)
	data := right.Body.Bytes()
	if len(data) > 0 {
		data[len(data)-1] ^= 1
	}
	maps.Copy(w.Header(), right.Header())
	w.WriteHeader(right.Code)
	w.Write(data)
	return true
}

// use makes r build through the hub.
func (h *hub) use(r *remote) {
	r.t.Helper()
	config := r.t.TempDir()
	login := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, h.host(), registrytest.User, registrytest.Password)
	r.must(os.WriteFile(filepath.Join(config, "config.json"), []byte(login), 0o600))
	r.Env = append(r.Env, "DOCKER_CONFIG="+config, "SX_ENGINE_HUB=oci://"+h.host()+"/hub")
}

func (h *hub) host() string { return h.Listener.Addr().String() }

// newHeavy is a tree whose core-heavy has size bytes that do not compress, built through a
// hub on a stock buildkitd.
func newHeavy(t *testing.T, size int) (*remote, *hub) {
	t.Helper()
	r := newRemote(t, NewTree(t, programs, "", travelling))
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(noise)
	r.Write("packages/core/heavy/noise", noise)
	h := startHub(t)
	h.use(r)
	return r, h
}

// outputs lists what a folder has.
func (r *remote) names(folder string) string {
	entries, _ := os.ReadDir(r.Path(folder))
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return strings.Join(names, " ")
}

// Layers go between engine and hub; what is not brought to out/ is not proven, is not built
// again, and is brought when it is wanted. Digests are those of a build without a hub.
func TestHub(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	r, h := newHeavy(t, size)
	r.Sx("build", "core-heavy", "--results", "none") // its file is sent here
	run := r.Start("build", "core-copy", "core-from", "--results", "none", "-v").Want(0)
	m := moved.FindStringSubmatch(run.Stderr.String())
	if m == nil {
		t.Fatalf("the log does not say how many bytes of layers passed:\n%s", &run.Stderr)
	}
	for _, n := range m[1:] {
		if n, _ := strconv.Atoi(n); n > 2<<20 { // a megabyte for each output
			t.Errorf("%d bytes passed through this machine", n)
		}
	}
	if !strings.Contains(run.Stderr.String(), "bytes received 0, bytes sent 0") {
		t.Errorf("layers passed through this machine:\n%s", &run.Stderr)
	}
	if n := strings.Count(run.Stdout.String(), "UNPROVEN (in the hub "+h.host()+"/hub, its bytes not seen here)"); n != 2 {
		t.Errorf("%d verdicts say where the images are:\n%s", n, &run.Stdout)
	}
	if got := r.names("out"); got != "" {
		t.Errorf("out/ has %s", got)
	}
	if got := r.names(".sx/hub"); got != "core-copy core-from core-heavy" {
		t.Errorf("records of %s", got)
	}
	dry := r.Sx("build", "core-copy", "core-from", "--dry-run")
	if !strings.Contains(dry, "core-copy: bring, because its image is in the hub, not in out/\n") ||
		!strings.Contains(dry, "3 outputs: 0 to build, 2 to bring from the hub, 1 up to date\n3 outputs in the hub "+h.host()+"/hub, as the records say;") {
		t.Errorf("the dry run says\n%s", dry)
	}
	run = r.Start("build", "core-copy", "core-from").Want(0) // which brings both
	if log := run.Stderr.String(); strings.Contains(log, ": built") || r.names("out") != "core-copy core-from" || strings.Count(log, ": brought from the hub "+h.host()+"/hub, not built again") != 2 {
		t.Errorf("out/ has %s:\n%s", r.names("out"), log)
	}
	if n := strings.Count(run.Stdout.String(), "core-heavy is in the hub, its bytes not seen here"); n != 2 {
		t.Errorf("%d verdicts name the input that was not seen:\n%s", n, &run.Stdout)
	}
	run = r.Start("build", "core-copy", "--results", "all").Want(0)
	if log := run.Stderr.String(); strings.Contains(log, ": built") || !strings.Contains(run.Stdout.String(), "core-copy UNPUBLISHED") {
		t.Errorf("core-heavy was not brought and judged:\n%s%s", &run.Stdout, log)
	}
	got := r.Digest("core-copy") + r.Digest("core-from")
	r.Env = append(r.Env, "SX_ENGINE_ADDRESS=embedded", "SX_ENGINE_HUB=")
	r.Sx("build", "core-copy", "core-from", "--no-cache")
	if want := r.Digest("core-copy") + r.Digest("core-from"); got != want {
		t.Errorf("digests %s, want %s", got, want)
	}
	if h.passwords > 0 || h.tokens == 0 {
		t.Errorf("%d requests with a password, %d tokens", h.passwords, h.tokens)
	}
}

// What the embedded engine built, or out/ has, is pushed for the engines; what the hub has
// is brought for the embedded engine.
func TestHubMixed(t *testing.T) {
	t.Parallel()
	r, _ := newHeavy(t, 1000)
	elsewhere := r.Env
	r.Env = append(elsewhere[:len(elsewhere):len(elsewhere)], "SX_ENGINE_ADDRESS=embedded", "SX_ENGINE_HUB=")
	r.Sx("build", "core-heavy")
	r.Env = elsewhere
	r.Sx("build", "core-from", "--results", "none")
	r.must(os.RemoveAll(r.Path("out/core-heavy")))
	r.Sx("build", "core-copy", "--results", "none") // core-heavy is built again, and stays in the hub
	r.must(os.Remove(r.Path(".sx/hub/core-copy.json")))
	r.Env = append(elsewhere[:len(elsewhere):len(elsewhere)], "SX_ENGINE_ADDRESS=embedded")
	run := r.Start("build", "core-copy").Want(0)
	if log := run.Stderr.String(); strings.Contains(log, "core-heavy: built") || r.names("out") != "core-copy" {
		t.Errorf("out/ has %s:\n%s", r.names("out"), log)
	}
}

// A hub with a certificate of its own authority: sx and the engine are told of it each in
// their own settings, and the one that was not says so.
func TestHubTLS(t *testing.T) {
	t.Parallel()
	r := newRemote(t, NewTree(t, programs, "", travelling))
	r.Write("packages/core/heavy/noise", []byte("noise\n"))
	h, ca := startHubTLS(t)
	h.use(r)
	run := r.Start("build", "core-from").Want(5)
	if log := run.Stderr.String(); !strings.Contains(log, "registries.ca_file") {
		t.Errorf("not told how sx trusts it:\n%s", log)
	}
	r.Env = append(r.Env, "SX_REGISTRIES_CA_FILE="+ca)
	for _, c := range []struct{ config, want string }{
		{"", `"http = false"`}, // an engine uses no TLS on its own loopback
		{"http = false", `the engine does not trust its certificate: write [registry."` + h.host() + `"] and ca = `},
		{fmt.Sprintf("http = false\nca = [%q]", ca), ""},
	} {
		config := filepath.Join(t.TempDir(), "buildkitd.toml")
		r.must(os.WriteFile(config, fmt.Appendf(nil, "[registry.%q]\n%s\n", h.host(), c.config), 0o600))
		r.stock.Kill()
		r.stock.args = append(r.stock.args, "--config", config)
		r.stock.Start()
		if c.want == "" {
			r.Sx("build", "core-from")
			break
		}
		run := r.Start("build", "core-from").Want(5)
		if log := run.Stderr.String(); !strings.Contains(log, c.want) {
			t.Errorf("not told %s:\n%s", c.want, log)
		}
	}
	if r.names("out") != "core-from" || !strings.Contains(r.names(".sx/hub"), "core-heavy") {
		t.Errorf("out/ has %s, the hub %s", r.names("out"), r.names(".sx/hub"))
	}
}

// After sx was killed the same command takes what was finished from the hub.
func TestHubKilled(t *testing.T) {
	t.Parallel()
	r := newRemoteSleeper(t)
	startHub(t).use(r)
	run := r.Start("build", "core-sleep")
	r.Sleeping(r.mark)
	r.must(run.Cmd.Process.Kill())
	run.Want(-1)
	Until(t, 30*time.Second, "the engine ends what is not wanted any more", func() bool { return len(Running(r.mark)) == 0 })
	again := r.Start("build", "core-sleep").Want(0)
	if strings.Contains(again.Stderr.String(), "core-first: built") || r.names("out") != "core-sleep" {
		t.Errorf("out/ has %s:\n%s", r.names("out"), &again.Stderr)
	}
}

// What the hub has lost is built again.
func TestHubLost(t *testing.T) {
	t.Parallel()
	r, h := newHeavy(t, 1000)
	r.Sx("build", "core-from", "--results", "none")
	empty := emptyRegistry(t)
	h.mu.Lock()
	h.behind = empty
	h.mu.Unlock()
	run := r.Start("build", "core-copy").Want(0)
	if log := run.Stderr.String(); !strings.Contains(log, "core-heavy: built") || r.names("out") != "core-copy" {
		t.Errorf("out/ has %s:\n%s", r.names("out"), log)
	}
}

// A hub that refuses, is full, lies or loses is told in one message and exit code 5, and
// nothing of it is kept.
func TestHubHostile(t *testing.T) {
	t.Parallel()
	refuse := func(code int, methods, path string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(methods, r.Method) || !strings.Contains(r.URL.Path, path) {
				return false
			}
			w.WriteHeader(code)
			return true
		}
	}
	other := func(path string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, path) {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			fmt.Fprint(w, `{"schemaVersion":2,"manifests":[]}`)
			return true
		}
	}
	fresh := func(r *remote) {
		r.stock.Kill()
		r.must(os.RemoveAll(filepath.Join(r.stock.Dir, "root")))
		r.stock.Start()
	}
	for _, c := range []struct {
		name, want string
		first      func(r *remote) // after core-heavy was built
		misbehave  func(http.ResponseWriter, *http.Request) bool
	}{
		{"full", "it is full: make room there", nil, refuse(http.StatusInsufficientStorage, "POST PATCH PUT", "/uploads/")},
		{"small", "refuses a layer of that size", nil, refuse(http.StatusRequestEntityTooLarge, "PATCH PUT", "/uploads/")},
		{"denied", "refuses the engine", nil, refuse(http.StatusForbidden, "POST PUT PATCH", "/")},
		{"another manifest", "sha256", nil, other("/manifests/sha256:")},
		{"another image under the tag", "under the tag run-", nil, other("/manifests/run-")},
		{"other bytes", "sha256", nil, other("/blobs/sha256:")},
		{"other bytes to a fresh engine", "the engine refused them", fresh, nil},
		{"lost to a fresh engine", "has lost an image", fresh, refuse(http.StatusNotFound, "GET", "/blobs/sha256:")},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, h := newHeavy(t, 100_000)
			r.Sx("build", "core-heavy", "--results", "none")
			if c.first != nil {
				c.first(r)
			}
			asked := c.misbehave
			if asked == nil {
				asked = h.flip
			}
			misbehave := asked
			if c.first != nil { // sx itself asks by HEAD for layers, and for configs
				asked = func(w http.ResponseWriter, req *http.Request) bool {
					return strings.Contains(req.UserAgent(), "buildkit") && misbehave(w, req)
				}
			}
			h.set(asked)
			run := r.Start("build", "core-from").Want(5)
			log := run.Stderr.String()
			if !strings.Contains(log, c.want) || !strings.Contains(log, "the hub "+h.host()+"/hub: ") {
				t.Errorf("not told %q:\n%s", c.want, log)
			}
			if got := r.names("out") + r.names(".sx/hub"); strings.Contains(got, "core-from") || strings.Contains(got, "core-copy") {
				t.Errorf("kept: %s", got)
			}
			h.set(nil)
			if c.misbehave != nil { // a buildkitd keeps the wrong bytes that it refused
				r.Sx("build", "core-from")
			}
		})
	}
}
