package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// documentServer answers over TLS, and returns a client that trusts it.
func documentServer(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *Documents) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	d := NewDocuments("sx/test")
	t.Cleanup(d.Close)
	d.base.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	return server, d
}

func TestDocuments(t *testing.T) {
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	server, d := documentServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			w.Write([]byte("text"))
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL+"/good", http.StatusFound)
		case "/plain":
			http.Redirect(w, r, plain.URL+"/good", http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/big":
			w.Write(make([]byte, MaxDocument+1))
		case "/denied":
			w.WriteHeader(http.StatusForbidden)
		case "/short":
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("text"))
		default:
			http.NotFound(w, r)
		}
	})
	for path, want := range map[string]string{
		"/good": "", "/moved": "", "/away": "to another host", "/plain": "to another host, or away from https", "/circle": "more than 10",
		"/big": "more than 1048576 bytes", "/denied": "403", "/none": "404", "/short": "unexpected EOF",
	} {
		data, err := d.Get(t.Context(), server.URL+path)
		var named *DocumentError
		switch {
		case want == "" && (err != nil || string(data) != "text"):
			t.Errorf("%s: %q, %v", path, data, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &named)):
			t.Errorf("%s: %v, want %q", path, err, want)
		case NoDocument(err) != (path == "/none"):
			t.Errorf("%s: NoDocument is %v", path, NoDocument(err))
		}
	}
}

func TestDocumentURLs(t *testing.T) {
	d := NewDocuments("sx/test")
	defer d.Close()
	for _, address := range []string{"http://example.org/x", "https://", "ftp://example.org/x", "https://me:pw@example.org/", "/etc/passwd", "file:///etc/passwd", "https://example.org/#a", ":", ""} {
		if _, err := d.Get(t.Context(), address); err == nil || !strings.Contains(err.Error(), "want an address") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A server that does not end is given up, and so is one that is asked while the user interrupts.
func TestDocumentTime(t *testing.T) {
	asked, release := make(chan struct{}, 9), make(chan struct{})
	server, d := documentServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a"))
		w.(http.Flusher).Flush()
		asked <- struct{}{}
		<-release
	})
	defer close(release)
	d.time = 50 * time.Millisecond
	if _, err := d.Get(t.Context(), server.URL); err == nil || !strings.Contains(err.Error(), "not done for 50ms") {
		t.Error(err)
	}
	<-asked
	d.time = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	go func() { <-asked; cancel(stopped) }()
	if _, err := d.Get(ctx, server.URL); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

// A server that does not answer costs the time of a few documents, not of all.
func TestDocumentsOfASilentServer(t *testing.T) {
	var asked atomic.Int32
	release := make(chan struct{})
	server, d := documentServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
	})
	defer close(release)
	d.time = 10 * time.Millisecond
	for i := range 2 * maxSilent {
		_, err := d.Get(t.Context(), server.URL)
		want := "not done for 10ms"
		if i >= maxSilent {
			want = "not asked: 8 requests in a row were not answered in time"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("request %d: %v, want %s", i+1, err, want)
		}
	}
	if n := asked.Load(); n > maxSilent {
		t.Errorf("the server was asked %d times", n)
	}
}
