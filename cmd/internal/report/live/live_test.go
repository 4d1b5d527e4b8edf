package live_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/report/live"
)

// serve starts a server whose data follows its stamp.
func serve(t *testing.T, stamp *atomic.Pointer[string]) *live.Server {
	t.Helper()
	s, err := live.Listen("127.0.0.1:0", func(context.Context) ([]byte, error) {
		return []byte(`{"runs":[],"stamp":"` + *stamp.Load() + `"}`), nil
	},
		func() (string, error) { return *stamp.Load(), nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
}

type request struct {
	method, path, host string
	header             map[string]string
}

func ask(t *testing.T, s *live.Server, r request) (*http.Response, string) {
	t.Helper()
	base, token, _ := strings.Cut(s.URL(), "/?token=")
	if r.path == "" {
		r.path = "/data?token=" + token
	}
	if r.method == "" {
		r.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, base+r.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.host != "" {
		req.Host = r.host
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func newStamp(text string) *atomic.Pointer[string] {
	var p atomic.Pointer[string]
	p.Store(&text)
	return &p
}

// Each request that is not the page's own is refused, and gets neither data nor token.
func TestRefused(t *testing.T) {
	s := serve(t, newStamp("one"))
	base, token, _ := strings.Cut(s.URL(), "/?token=")
	port := base[strings.LastIndex(base, ":"):]
	for name, c := range map[string]struct {
		request
		code int
	}{
		"own":                {request{}, 200},
		"own, with Origin":   {request{header: map[string]string{"Origin": base, "Sec-Fetch-Site": "same-origin"}}, 200},
		"localhost":          {request{host: "localhost" + port}, 200},
		"no token":           {request{path: "/data"}, 403},
		"no token, the page": {request{path: "/"}, 403},
		"another token":      {request{path: "/data?token=" + strings.Repeat("A", len(token))}, 403},
		"a name by DNS":      {request{host: "evil.example" + port}, 421},
		"another port":       {request{host: "127.0.0.1:1"}, 421},
		"another origin":     {request{header: map[string]string{"Origin": "http://evil.example"}}, 403},
		"no origin at all":   {request{header: map[string]string{"Origin": "null"}}, 403},
		"another site":       {request{header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		"another port's":     {request{header: map[string]string{"Sec-Fetch-Site": "same-site"}}, 403},
		"POST":               {request{method: "POST"}, 405},
		"DELETE":             {request{method: "DELETE"}, 405},
		"another path":       {request{path: "/etc/passwd?token=" + token}, 404},
		"a path upwards":     {request{path: "/../../etc/passwd?token=" + token}, 404},
	} {
		resp, body := ask(t, s, c.request)
		if resp.StatusCode != c.code {
			t.Errorf("%s: %s, want %d", name, resp.Status, c.code)
		}
		if c.code != 200 && (strings.Contains(body, "stamp") || strings.Contains(body, token)) {
			t.Errorf("%s: the answer is %q", name, body)
		}
		for header, part := range map[string]string{"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if !strings.Contains(resp.Header.Get(header), part) {
				t.Errorf("%s: %s is %q", name, header, resp.Header.Get(header))
			}
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: other origins may read", name)
		}
	}
}

func TestOnlyWhatIsNew(t *testing.T) {
	stamp := newStamp("one")
	s := serve(t, stamp)
	first, body := ask(t, s, request{})
	if !strings.Contains(body, `"one"`) {
		t.Fatal(body)
	}
	same := map[string]string{"If-None-Match": first.Header.Get("ETag")}
	if resp, body := ask(t, s, request{header: same}); resp.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("%s: %q", resp.Status, body)
	}
	two := "two"
	stamp.Store(&two)
	if _, body := ask(t, s, request{header: same}); !strings.Contains(body, `"two"`) {
		t.Error(body)
	}
}

// Only addresses of this machine are served.
func TestLoopback(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "example.org:0", "127.0.0.1", "nonsense"} {
		if s, err := live.Listen(address, nil, nil); err == nil {
			s.Close()
			t.Errorf("%q is served", address)
		}
	}
}

// The file that redirects is for this user alone, and goes away.
func TestRedirect(t *testing.T) {
	s, err := live.Listen("127.0.0.1:0", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.WriteRedirect(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), s.URL()) {
		t.Errorf("%q, %v", data, err)
	}
	s.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("it stays")
	}
}

// Two servers in one tree have a file each. That of a server that was killed goes away with
// the next one's.
func TestTwoRedirects(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "report-live-DEAD.html")
	for _, name := range []string{dead, filepath.Join(dir, "report.html")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var servers []*live.Server
	var paths []string
	for range 2 {
		s, err := live.Listen("127.0.0.1:0", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		path, err := s.WriteRedirect(dir)
		if err != nil {
			t.Fatal(err)
		}
		servers, paths = append(servers, s), append(paths, path)
	}
	for i, s := range servers {
		data, err := os.ReadFile(paths[i])
		if err != nil || !strings.Contains(string(data), s.URL()) {
			t.Errorf("%s: %q, %v", paths[i], data, err)
		}
	}
	servers[0].Close()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 || left[0].Name() != filepath.Base(paths[1]) || left[1].Name() != "report.html" {
		t.Errorf("left are %v, %v", left, err)
	}
}
