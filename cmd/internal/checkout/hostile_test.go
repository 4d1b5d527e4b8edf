package checkout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func fromHex(t *testing.T, digits string) []byte {
	t.Helper()
	var raw []byte
	if _, err := fmt.Sscanf(digits, "%x", &raw); err != nil {
		t.Fatal(err)
	}
	return raw
}

// packRequest reports whether a request asks for objects, and gives its body back.
func packRequest(req *http.Request) bool {
	if req.Method != http.MethodPost {
		return false
	}
	var body bytes.Buffer
	body.ReadFrom(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	return bytes.Contains(body.Bytes(), []byte("command=fetch"))
}

// edited lets edit change the answers to requests for objects.
func edited(edit func(body []byte) []byte) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if !packRequest(req) {
				h.ServeHTTP(w, req)
				return
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
			w.Write(edit(rec.Body.Bytes()))
		})
	}
}

// A server that lies, cuts or does not end is refused, and nothing of it is kept: the same
// tree comes afterwards from the server as it is.
func TestHostileServers(t *testing.T) {
	endless := func(part string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if !packRequest(req) {
					h.ServeHTTP(w, req)
					return
				}
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				fmt.Fprint(w, "000dpackfile\n")
				line := fmt.Sprintf("%04x%s", len(part)+4, part)
				line = strings.Repeat(line, 1+100_000/len(line))
				for _, err := fmt.Fprint(w, line); err == nil; _, err = fmt.Fprint(w, line) {
				}
			})
		}
	}
	block := strings.Repeat("x", 60000)
	for what, test := range map[string]struct {
		spoil func(http.Handler) http.Handler
		want  string
	}{
		"a changed byte":   {edited(func(b []byte) []byte { b[len(b)-60] ^= 1; return b }), "the pack"},
		"cut":              {edited(func(b []byte) []byte { return b[:len(b)/2] }), "ended before it was complete"},
		"nothing":          {edited(func([]byte) []byte { return nil }), "ended before it was complete"},
		"no pack":          {edited(func([]byte) []byte { return []byte("0000") }), "sends no pack"},
		"no protocol":      {edited(func([]byte) []byte { return []byte("hello") }), "is not git's protocol"},
		"an error":         {edited(func([]byte) []byte { return []byte("0010ERR go away\n") }), "the server refuses: go away"},
		"an endless pack":  {endless("\x01" + block), "above the limit"},
		"endless progress": {endless("\x02" + block), "above the limit"},
		"empty progress":   {endless("\x02"), "above the limit"},
		"a stall": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if !packRequest(req) {
					h.ServeHTTP(w, req)
					return
				}
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				fmt.Fprint(w, "000dpackfile\n")
				w.(http.Flusher).Flush()
				<-req.Context().Done()
			})
		}, "no byte for"},
		"an old server": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				req.Header.Del("Git-Protocol")
				h.ServeHTTP(w, req)
			})
		}, "version 2 of git's protocol"},
		"files": {func(http.Handler) http.Handler { return http.FileServer(http.Dir(t.TempDir())) }, "404"},
		"a web page": {func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
		}, "this is no git server"},
		"another server": {func(http.Handler) http.Handler {
			return http.RedirectHandler("ftp://example.org/", http.StatusFound)
		}, "redirect refused"},
		"http on another machine": {func(http.Handler) http.Handler {
			return http.RedirectHandler("http://192.0.2.1/tree.git", http.StatusFound)
		}, "to http on another machine"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			r.write(map[string]string{"packages/core/a/Containerfile": similar(1)})
			commit, trees := r.commit(), t.TempDir()
			r.spoil = test.spoil
			_, err := r.open(trees, commit)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, new(*Error)) {
				t.Fatalf("%v", err)
			}
			found, _ := filepath.Glob(filepath.Join(trees, commit, "*"))
			if hidden, _ := filepath.Glob(filepath.Join(trees, commit, ".*")); len(found)+len(hidden) > 0 {
				t.Errorf("left: %q %q", found, hidden)
			}
			r.mu.Lock()
			r.spoil = nil
			r.mu.Unlock()
			if _, err := r.open(trees, commit); err != nil {
				t.Errorf("from the server as it is: %v", err)
			}
		})
	}
}

// A server that says that a tag is of another commit than its object says is refused, and
// one that sends other objects than it was asked for.
func TestLies(t *testing.T) {
	r := newRepository(t)
	r.write(map[string]string{"packages/core/a/Containerfile": "FROM scratch\n"})
	first := r.commit()
	r.git("tag", "-m", "a release", "2026.03.0")
	r.write(map[string]string{"packages/core/a/Containerfile": "FROM scratch AS other\n"})
	second := r.commit()
	r.spoil = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
			w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte("peeled:"+first), []byte("peeled:"+second)))
		})
	}
	if _, err := r.open(t.TempDir(), "2026.03.0"); err == nil || !strings.Contains(err.Error(), "its object leads to "+first) {
		t.Errorf("%v", err)
	}
	r.spoil = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			var body bytes.Buffer
			body.ReadFrom(req.Body)
			asked := strings.ReplaceAll(body.String(), "want "+second, "want "+first)
			again := httptest.NewRequest(req.Method, req.URL.String(), strings.NewReader(asked))
			again.Header = req.Header
			h.ServeHTTP(w, again)
		})
	}
	if _, err := r.open(t.TempDir(), second); err == nil || !strings.Contains(err.Error(), "the server did not send it") {
		t.Errorf("%v", err)
	}
	r.spoil = nil
	r.git("update-ref", "refs/tags/2026.05.0", "refs/tags/2026.03.0")
	if _, err := r.open(t.TempDir(), "2026.05.0"); err == nil || !strings.Contains(err.Error(), `the tag "2026.03.0" in place of "2026.05.0"`) {
		t.Errorf("%v", err)
	}
	if _, err := r.open(t.TempDir(), "2026.04.0"); err == nil || !strings.Contains(err.Error(), `has no tag "2026.04.0"`) {
		t.Errorf("%v", err)
	}
	if _, err := r.open(t.TempDir(), first[:12]); err == nil || !strings.Contains(err.Error(), "a commit has 40 digits") {
		t.Errorf("%v", err)
	}
	if _, err := r.open(t.TempDir(), strings.Repeat("1", 40)); err == nil || !strings.Contains(err.Error(), "the server refuses") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := Open(ctx, t.TempDir(), Source{URL: r.url, Commit: second}, impatient); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}
