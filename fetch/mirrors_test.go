package fetch

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/fetch/transfer"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func notFound(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

// Each broken mirror is given up for the good one behind it; alone, it is the
// source's failure, and nothing is left under the final name.
func TestBrokenMirrors(t *testing.T) {
	data := noise(1, 100_000)
	for _, c := range []struct {
		name   string
		broken http.HandlerFunc
		reason string
		tries  int // requests when it is the only mirror
	}{
		{"404", status(404), "HTTP status 404 Not Found", 1},
		{"403", status(403), "HTTP status 403 Forbidden", 1},
		{"410", status(410), "HTTP status 410 Gone", 1},
		{"no content", status(204), "HTTP status 204 No Content", 1},
		{"unknown status", status(299), "HTTP status 299", 1},
		{"500", status(500), "HTTP status 500 Internal Server Error", 4},
		{"503", status(503), "HTTP status 503 Service Unavailable", 4},
		{"429", status(429), "HTTP status 429 Too Many Requests", 4},
		{"501", status(501), "HTTP status 501 Not Implemented", 1},
		{"another file", whole(noise(2, 100_000)), "wrong file: sha256 ", 1},
		{"a login page", whole([]byte("<html>")), "wrong file: sha256 ", 1},
		{"ends early", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(data[:50_000])
			cut()
		}, "unexpected EOF", 4},
		{"ends early without saying", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(data[:50_000])
		}, "wrong file: sha256 ", 1},
		{"claims less", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "50000")
			w.Write(data[:50_000])
		}, "wrong file: sha256 ", 1},
		{"cut before the headers", func(http.ResponseWriter, *http.Request) { cut() }, "the connection was closed without an answer", 4},
		{"the end, which was not asked for", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-99999/100000")
			w.WriteHeader(206)
			w.Write(data[50_000:])
		}, "wrong Content-Range", 1},
		{"not satisfiable", status(416), "HTTP status 416", 1},
		{"redirect to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "redirect refused: more than 10", 11},
		{"redirect to a file", redirect("file:///etc/passwd"), `redirect refused: scheme "file"`, 1},
		{"redirect to ftp", redirect("ftp://example.org/a"), `redirect refused: scheme "ftp"`, 1},
		{"redirect without a host", redirect("http:///a"), "redirect refused: URL without a host", 1},
		{"redirect to nothing", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(302) }, "HTTP status 302 Found", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			bad, good := serve(t, c.broken), serveFile(t, data)
			rep := w.must(source("a", data, bad.URL, good.URL))
			if len(rep.Fetched) != 1 {
				t.Errorf("report %+v", rep)
			}
			good.wantRequests(t, 1)

			w, bad = newWorld(t), serve(t, c.broken)
			s := source("a", data, bad.URL)
			_, err := w.run(s)
			wantReasons(t, err, c.reason)
			bad.wantRequests(t, c.tries)
			w.wantFiles("fetch")
		})
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func TestRefusedURLs(t *testing.T) {
	data := noise(1, 10)
	w := newWorld(t)
	_, err := w.run(source("a", data, "file:///etc/passwd", "ftp://example.org/a", "/a", "http://", "http://u:p%zz@h/", "http://[::1", "http://127.0.0.1:1/a"))
	wantReasons(t, err, `scheme "file" is neither`, `scheme "ftp"`, `scheme ""`, "without a host", "not a URL", "missing ']'", "connection refused")
	_, err = w.run(source("a", data))
	wantReasons(t, err, "no mirrors")
}

func TestRedirect(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	good := serveFile(t, data)
	hop := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, good.URL+"/b?token=1", http.StatusMovedPermanently)
	})
	w.must(source("a", data, hop.URL))
}

// Several transient mirrors are asked again once all were tried; one that said
// no for good is not.
func TestSecondRound(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	n := 0
	flaky := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n < 3 {
			w.WriteHeader(503)
			return
		}
		whole(data)(w, r)
	})
	gone := serve(t, notFound)
	w.must(source("a", data, flaky.URL, gone.URL))
	flaky.wantRequests(t, 3)
	gone.wantRequests(t, 1)
}

// All fail for their own reasons; the rest goes on.
func TestErrorsGathered(t *testing.T) {
	w := newWorld(t)
	gone, broken := serve(t, notFound), serve(t, status(500))
	good := noise(9, 1000)
	w.opts.Retries = -1
	rep, err := w.run(
		source("z", noise(1, 10), gone.URL+"/z", broken.URL+"/z"),
		source("good", good, serveFile(t, good).URL),
		source("\x1b[31mevil\n", noise(2, 10), gone.URL+"/e"),
		source("a", noise(3, 10), gone.URL+"/a"),
		source("b", noise(3, 10), gone.URL+"/b"),
	)
	if len(rep.Fetched) != 1 {
		t.Errorf("report %+v", rep)
	}
	if want := `could not fetch 4 of 5 sources: "core-x: \x1b[31mevil\n", "core-x: a", "core-x: b", and 1 more`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	var e *Error
	var st *transfer.StatusError
	if !errors.As(err, &e) || !errors.As(err, &st) || st.Code != 404 {
		t.Fatalf("error %#v", err)
	}
	var b strings.Builder
	e.Table(&b)
	want := strings.NewReplacer("GONE", gone.URL, "BROK", broken.URL).Replace(`SOURCE               MIRROR                    REASON
core-x: �[31mevil�   GONE/e  HTTP status 404 Not Found
core-x: a            GONE/a  HTTP status 404 Not Found
                     GONE/b  HTTP status 404 Not Found
core-x: b            GONE/a  HTTP status 404 Not Found
                     GONE/b  HTTP status 404 Not Found
core-x: z            GONE/z  HTTP status 404 Not Found
                     BROK/z  HTTP status 500 Internal Server Error
`)
	if got := squeeze(b.String()); got != squeeze(want) {
		t.Errorf("table\n%s\nwant\n%s", got, squeeze(want))
	}
}

// squeeze makes runs of spaces one: columns are as wide as the ports.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

func TestCredentialsStaySecret(t *testing.T) {
	w := newWorld(t)
	core, logs := observer.New(zap.DebugLevel)
	w.opts.Log = zap.New(core)
	data := noise(1, 100)
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "token" || pass != "secret" {
			t.Errorf("got credentials %q %q", user, pass)
		}
		w.WriteHeader(500)
	})
	mirror := strings.Replace(site.URL, "//", "//token:secret@", 1) + "/a"
	_, err := w.run(source("a", data, mirror, "http://token:secret@127.0.0.1:1/a", "http://token:sec/ret@h/", "http://token:secret@h:port/"))
	var table strings.Builder
	err.(*Error).Table(&table)
	all := err.Error() + table.String() + strings.Join(w.log.lines, " ") + fmt.Sprint(logs.All())
	for _, l := range logs.All() {
		all += fmt.Sprint(l.ContextMap())
	}
	if strings.Contains(all, "token") || strings.Contains(all, "sec") {
		t.Errorf("credentials shown: %s", all)
	}
	if !strings.Contains(all, "http://xxxxx@127.0.0.1:1/a") {
		t.Errorf("mirror not shown: %s", all)
	}
}

// From https to http is followed, but not with credentials.
func TestDowngrade(t *testing.T) {
	data := noise(1, 100)
	plain := serveFile(t, data)
	for _, userinfo := range []string{"", "user:pass@"} {
		w := newWorld(t)
		secure := serveTLS(t, w, redirect(plain.URL))
		_, err := w.run(source("a", data, strings.Replace(secure, "//", "//"+userinfo, 1)))
		if userinfo == "" && err != nil {
			t.Errorf("without credentials: %v", err)
		}
		if userinfo != "" {
			wantReasons(t, err, "redirect refused: from https to http with credentials")
		}
	}
}

func TestUnknownCertificate(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 100)
	url := serveTLS(t, w, whole(data))
	w.opts.Transport = nil
	_, err := w.run(source("a", data, url))
	wantReasons(t, err, "certificate")
}

// A .tar.gz that a server also declares as an encoding keeps its bytes, and
// nobody is asked to encode.
func TestContentEncoding(t *testing.T) {
	w := newWorld(t)
	var packed strings.Builder
	z := gzip.NewWriter(&packed)
	z.Write(noise(1, 1000))
	z.Close()
	data := []byte(packed.String())
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if enc := r.Header.Get("Accept-Encoding"); enc != "identity" {
			t.Errorf("Accept-Encoding %q", enc)
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(data)
	})
	w.must(source("a.tar.gz", data, site.URL))
}

func TestUserAgent(t *testing.T) {
	w := newWorld(t)
	w.opts.UserAgent = "sx/1.2"
	data := noise(1, 10)
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "sx/1.2" {
			w.WriteHeader(403)
			return
		}
		w.Write(data)
	})
	w.must(source("a", data, site.URL))
}

// A transport of the caller carries the requests; ours asks the environment for proxies.
func TestTransportIsUsed(t *testing.T) {
	w := newWorld(t)
	w.opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("hi")), ContentLength: 2, Request: r}, nil
	})
	w.must(source("a", []byte("hi"), "https://nowhere.invalid/a"))
	if transfer.NewTransport(transfer.Limits{}, 1, nil).Proxy == nil {
		t.Error("the default transport asks no proxy")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
