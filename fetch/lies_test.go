package fetch

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever a server answers to a Range, the whole file is asked for, and had.
func TestRangeRefused(t *testing.T) {
	data := noise(1, 1000)
	refuse := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				w.Write(data)
				return
			}
			w.WriteHeader(code)
			w.Write([]byte("no ranges here"))
		}
	}
	servers := map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 500-999/1000")
				w.WriteHeader(206)
				w.Write([]byte("<html>" + strings.Repeat(" ", 494)))
				return
			}
			w.Write(data)
		},
		"a redirect to nowhere": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				redirect("ftp://127.0.0.1/a")(w, r)
				return
			}
			w.Write(data)
		},
		"multipart": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Type", "multipart/byteranges; boundary=x")
				w.WriteHeader(206)
				return
			}
			w.Write(data)
		},
		"the connection closed": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				cut()
			}
			w.Write(data)
		},
		"an empty 206": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 500-999/1000")
				w.WriteHeader(206)
				http.NewResponseController(w).Flush()
				cut()
			}
			w.Write(data)
		},
	}
	for _, code := range []int{204, 302, 400, 401, 403, 404, 405, 412, 416, 418, 429, 500, 501, 503} {
		servers[fmt.Sprint(code)] = refuse(code)
	}
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := source("a", data, serve(t, server).URL)
			w.part(s, data[:500])
			w.must(s)
		})
	}
}

// A server that stalls for ranges only is asked for the whole too.
func TestRangeStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(1, 1000)
		w := slowWorld(t, map[string]http.HandlerFunc{"h": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 500-999/1000")
				w.WriteHeader(206)
				hang(w, r)
				return
			}
			w.Write(data)
		}})
		s := source("a", data, "http://h/a")
		w.part(s, data[:500])
		w.must(s)
	})
}

// raw is a server that sends text as it is, and closes the connection.
func raw(t *testing.T, answer func(request int) string) (url string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				fmt.Fprint(c, answer(int(requests.Add(1))))
			}
			c.Close()
		}
	}()
	return "http://" + l.Addr().String(), requests
}

// Headers lie; the hash tells what the bytes are.
func TestHashOverrulesHeaders(t *testing.T) {
	data := string(noise(1, 1000))
	for name, head := range map[string]string{
		"a Content-Length too large":  "200 OK\r\nContent-Length: 1001",
		"203":                         "203 Non-Authoritative Information\r\nContent-Length: 1000",
		"226":                         "226 IM Used\r\nContent-Length: 1000",
		"another success":             "299 Fine\r\nContent-Length: 1000",
		"206 of the whole":            "206 Partial Content\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000",
		"206 without Content-Range":   "206 Partial Content\r\nContent-Length: 1000",
		"206 with a wrong size":       "206 Partial Content\r\nContent-Range: bytes 0-999/5000",
		"a Content-Encoding":          "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000",
		"a page":                      "200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000",
		"no length":                   "200 OK",
		"HTTP/1.0 with another range": "200 OK\r\nContent-Range: bytes 5-9/10",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			url, _ := raw(t, func(int) string { return "HTTP/1.1 " + head + "\r\nConnection: close\r\n\r\n" + data })
			w.must(source("a", []byte(data), url))
		})
	}
}

// A Content-Length that is too small makes another file of it, as far as HTTP tells: the
// message names that length, and the next mirror is asked.
func TestContentLengthTooSmall(t *testing.T) {
	data := string(noise(1, 1000))
	short, _ := raw(t, func(int) string { return "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + data })
	whole, _ := raw(t, func(int) string { return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + data })
	newWorld(t).must(source("a", []byte(data), short, whole))
	_, err := newWorld(t).run(source("a", []byte(data), short))
	if err == nil || !strings.Contains(err.Error(), "it ends after 900 bytes, as the server's Content-Length says") {
		t.Errorf("from that mirror alone: %v", err)
	}
}

// However a transfer ends early, it passes: the next request has the rest, or all.
func TestEndsEarly(t *testing.T) {
	data := string(noise(1, 1000))
	for name, first := range map[string]string{
		"less than Content-Length":    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + data[:400],
		"chunks without an end":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n" + data[:400] + "\r\n",
		"a chunk that is cut":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + data[:400],
		"a broken chunk":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n" + data[:400] + "\r\nzz\r\n",
		"closed, no length":           "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data[:400],
		"HTTP/1.0":                    "HTTP/1.0 200 OK\r\n\r\n" + data[:400],
		"206 of the first part":       "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-399/1000\r\nContent-Length: 400\r\n\r\n" + data[:400],
		"a page's type, and cut":      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\n" + data[:400],
		"nothing at all":              "",
		"half a header":               "HTTP/1.1 200 O",
		"a header that is not one":    "\x16\x03\x01 hello",
		"an interim answer, then end": "HTTP/1.1 100 Continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			url, requests := raw(t, func(n int) string {
				if n == 1 {
					return first
				}
				return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" + data
			})
			w.must(source("a", []byte(data), url))
			if requests.Load() < 2 {
				t.Errorf("%d requests", requests.Load())
			}
		})
	}
}

// A wrong file without a length is a wrong file once it comes the same way twice.
func TestWrongFileWithoutLength(t *testing.T) {
	w := newWorld(t)
	url, requests := raw(t, func(int) string { return "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>" })
	_, err := w.run(source("a", noise(1, 10), url))
	wantReasons(t, err, "it answered with a web page (text/html)")
	if n := requests.Load(); n > 3 {
		t.Errorf("%d requests", n)
	}
	w.wantFiles(".")
}

// What was put aside as wrong is what another source wants: no mirror is asked.
func TestWrongFileIsFoundByItsHash(t *testing.T) {
	for _, offline := range []bool{false, true} {
		w := newWorld(t)
		site := serve(t, notFound)
		one, two := noise(1, 1000), noise(2, 1000)
		a, b := source("a", one, site.URL), source("b", two, site.URL)
		w.write(a.Path, two) // exchanged
		w.write(b.Path, one)
		rep := w.must(a, b)
		if len(rep.Linked) != 2 {
			t.Errorf("report %+v", rep)
		}
		// The hash in package.toml was wrong, and is mended.
		typo := source("c", noise(4, 10), site.URL)
		w.write(typo.Path, noise(3, 1000))
		if _, err := w.run(typo); err == nil {
			t.Fatal("no error")
		}
		asked := len(site.requests())
		w.opts.Offline = offline
		w.must(source("c", noise(3, 1000), site.URL))
		site.wantRequests(t, asked)
		w.wantFiles(".sx")
	}
}

// The name of what was put aside is not its hash.
func TestWrongFileIsHashedAgain(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	site := serveFile(t, data)
	s := source("a", data, site.URL)
	w.write(".sx/fetch/"+wrongOf(data), noise(2, 1000))
	w.must(s)
	site.wantRequests(t, 1)
	if _, err := os.Stat(filepath.Join(w.dir, ".sx/fetch", wrongOf(data))); err != nil {
		t.Error(err)
	}
}

// A run that waits for another sx says so.
func TestWaitingIsTold(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	s := source("a", data, serveFile(t, data).URL)
	w.part(s, data[:10])
	held, err := os.OpenFile(filepath.Join(w.dir, ".sx/fetch", s.Hash.String()+".part"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := flock(t.Context(), held, func() {}); err != nil {
		t.Fatal(err)
	}
	w.opts.Status = &onWarn{w.log, func() { held.Close() }}
	w.must(s)
	if log := strings.Join(w.log.lines, "\n"); !strings.Contains(log, "warn core-x: a: another sx is downloading it: waiting") {
		t.Errorf("status was told:\n%s", log)
	}
}

type onWarn struct {
	Status
	f func()
}

func (o *onWarn) Warn(text string) {
	o.Status.Warn(text)
	o.f()
}
