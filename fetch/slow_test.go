package fetch

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of time run net/http over pipes under synctest's clock: half a
// minute of silence costs nothing, and is exactly half a minute.

// slowWorld has servers by host name and the defaults of time.
func slowWorld(t *testing.T, hosts map[string]http.HandlerFunc) *world {
	w := newWorld(t)
	w.opts.Backoff = func(n int) time.Duration { return time.Second << n }
	servers := map[string]*pipeListener{}
	for host, f := range hosts {
		l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		s := &http.Server{Handler: f}
		go s.Serve(l)
		t.Cleanup(func() { s.Close(); synctest.Wait() })
		servers[host] = l
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		return servers[host].dial(ctx)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	w.opts.Transport = tr
	return w
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// drip sends data at bytes per second.
func drip(data []byte, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, b := range data {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(every):
			case <-r.Context().Done():
				return
			}
		}
	}
}

func TestSlowMirrors(t *testing.T) {
	data := noise(1, 3000)
	stalls := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3000")
		w.Write(data[:1000])
		hang(w, r)
	}
	for _, c := range []struct {
		name   string
		slow   http.HandlerFunc
		after  time.Duration
		reason string
	}{
		{"no headers", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 30 * time.Second, "no answer for 30s"},
		{"no body", hang, 30 * time.Second, "no byte for 30s"},
		{"stalls", stalls, 30 * time.Second, "no byte for 30s"},
		{"drips", drip(data, time.Second), time.Minute, "bytes per second on average for 1m0s"},
		{"drips for ever", drip(make([]byte, 1<<20), 20*time.Second), time.Minute, "bytes per second on average for 1m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := slowWorld(t, map[string]http.HandlerFunc{"slow": c.slow, "fast": whole(data)})
				start := time.Now()
				w.must(source("a", data, "http://slow/a", "http://fast/a"))
				if took := time.Since(start); took != c.after {
					t.Errorf("given up after %v, want %v", took, c.after)
				}
				if log := strings.Join(w.log.lines, "\n"); !strings.Contains(log, c.reason) {
					t.Errorf("status was told:\n%s\nwant %q in it", log, c.reason)
				}
			})
		})
	}
}

// Slow, but steady above the limit, is no reason to give up.
func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(1, 20_000)
		w := slowWorld(t, map[string]http.HandlerFunc{"slow": drip(data, 500*time.Microsecond)})
		w.opts.Limits.MinRate = 1900
		w.must(source("a", data, "http://slow/a"))
	})
}

// Alone, a mirror that stalls is resumed, and given up in the end.
func TestStallAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := slowWorld(t, map[string]http.HandlerFunc{"slow": hang})
		start := time.Now()
		_, err := w.run(source("a", noise(1, 10), "http://slow/a"))
		wantReasons(t, err, "no byte for 30s")
		if took, want := time.Since(start), 4*30*time.Second+(1+2+4)*time.Second; took != want {
			t.Errorf("given up after %v, want %v", took, want)
		}
	})
}

// The body of an error may stall as well as any.
func TestStalledError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(1, 10)
		n := 0
		w := slowWorld(t, map[string]http.HandlerFunc{"h": func(w http.ResponseWriter, r *http.Request) {
			if n++; n == 1 {
				w.WriteHeader(503)
				hang(w, r)
				return
			}
			whole(data)(w, r)
		}})
		w.must(source("a", data, "http://h/a"))
	})
}

func TestRetryAfter(t *testing.T) {
	data := noise(1, 10)
	for _, c := range []struct {
		code   int
		header string
		after  time.Duration // until it was had; 0: given up at once
	}{
		{429, "7", 7 * time.Second},
		{503, "7", 7 * time.Second},
		{503, "0", time.Nanosecond}, // synctest's clock stands still
		{503, "Sat, 01 Jan 2000 00:00:09 GMT", 9 * time.Second},
		{503, "Fri, 31 Dec 1999 00:00:00 GMT", time.Nanosecond},
		{503, "soon", time.Second},
		{503, "-1", time.Second},
		{503, "", time.Second},
		{429, "31", 0},
		{429, "99999999999999999999", time.Second},
		{503, "Sat, 01 Jan 2000 01:00:00 GMT", 0},
		{404, "7", 0},
	} {
		t.Run(c.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				w := slowWorld(t, map[string]http.HandlerFunc{"h": func(w http.ResponseWriter, r *http.Request) {
					if n++; n > 1 {
						whole(data)(w, r)
						return
					}
					w.Header().Set("Retry-After", c.header)
					w.WriteHeader(c.code)
				}})
				start := time.Now()
				_, err := w.run(source("a", data, "http://h/a"))
				if took := max(time.Since(start), 1); err == nil && took != c.after {
					t.Errorf("had after %v, want %v", took, c.after)
				}
				if (err != nil) != (c.after == 0) {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// With another mirror at hand nobody waits.
func TestNoWaitWithAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(1, 10)
		w := slowWorld(t, map[string]http.HandlerFunc{"busy": status(503), "free": whole(data)})
		start := time.Now()
		w.must(source("a", data, "http://busy/a", "http://free/a"))
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestAdvanceIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(1, 1000)
		w := slowWorld(t, map[string]http.HandlerFunc{"h": drip(data, time.Millisecond)})
		w.must(source("a", data, "http://h/a"))
		n := 0
		for _, l := range w.log.lines {
			if strings.HasPrefix(l, "advance") {
				n++
			}
		}
		if n < 9 || n > 11 {
			t.Errorf("%d Advance calls in one second, want 10", n)
		}
	})
}
