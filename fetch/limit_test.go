package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A busy host keeps its own downloads waiting, and nobody else's.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most [3]atomic.Int64 // host a, host b, all
		enter := func(i int) {
			n := now[i].Add(1)
			for m := most[i].Load(); n > m && !most[i].CompareAndSwap(m, n); m = most[i].Load() {
			}
		}
		count := func(host int) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				enter(host)
				enter(2)
				drip([]byte(r.URL.Path), 1e9)(w, r)
				now[host].Add(-1)
				now[2].Add(-1)
			}
		}
		w := slowWorld(t, map[string]http.HandlerFunc{"a": count(0), "b": count(1)})
		w.opts.Jobs, w.opts.PerHost, w.opts.MinRate = 5, 3, -1
		var sources []Source
		for i := range 20 {
			path := fmt.Sprintf("/%02d", i)
			host := "a"
			if i >= 16 { // all of a's stand before
				host = "b"
			}
			sources = append(sources, source(path[1:], []byte(path), "http://"+host+path))
		}
		w.must(sources...)
		if a, b, all := most[0].Load(), most[1].Load(), most[2].Load(); a != 3 || b != 2 || all != 5 {
			t.Errorf("at most %d, %d, in all %d at once, want 3, 2, 5", a, b, all)
		}
	})
}

// With one job everything happens in the order given.
func TestOneJobIsInOrder(t *testing.T) {
	w := newWorld(t)
	w.opts.Jobs = 1
	site := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.URL.Path)) })
	var sources []Source
	for i := range 20 {
		path := fmt.Sprintf("/%02d", 20-i)
		sources = append(sources, source(path[1:], []byte(path), site.URL+path))
	}
	w.must(sources...)
	for i, r := range site.requests() {
		if want := fmt.Sprintf("/%02d", 20-i); r.URL.Path != want {
			t.Errorf("request %d was for %s, want %s", i, r.URL.Path, want)
		}
	}
}

func TestLimiterOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, 1)
		first, _ := l.acquire(t.Context(), "a", 0, nil)
		var mu sync.Mutex
		var order []string
		held := map[string]*slot{}
		want := func(host string, seq int) {
			go func() {
				s, err := l.acquire(t.Context(), host, seq, nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				name := fmt.Sprint(host, seq)
				order, held[name] = append(order, name), s
			}()
			synctest.Wait()
		}
		want("a", 3)
		want("a", 1)
		want("b", 4) // b has room
		want("b", 2)
		first.release()
		first.release() // once is enough
		synctest.Wait()
		held["b4"].release()
		synctest.Wait()
		held["a1"].release()
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[b4 a1 b2 a3]" {
			t.Errorf("granted in order %s", got)
		}
	})
}

func TestLimiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, 1)
		s, _ := l.acquire(t.Context(), "a", 0, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		go func() { cancel(gone) }()
		if _, err := l.acquire(ctx, "a", 1, nil); err != gone {
			t.Errorf("acquire: %v", err)
		}
		// Granted and cancelled at once: the slot is not lost either way.
		go s.release()
		if s, err := l.acquire(ctx, "a", 2, nil); err == nil {
			s.release()
		}
		synctest.Wait()
		if s, err := l.acquire(t.Context(), "a", 3, nil); err != nil {
			t.Error(err)
		} else {
			s.release()
		}
		if l.free != 1 || l.used["a"] != 0 || len(l.queue["a"]) != 0 {
			t.Errorf("left %+v", l)
		}
	})
}

// Whom a download was redirected to counts it too.
func TestLimiterVisit(t *testing.T) {
	l := newLimiter(3, 1)
	s, _ := l.acquire(t.Context(), "a", 0, nil)
	s.visit("b")
	s.visit("b")
	if l.used["b"] != 1 {
		t.Errorf("b is used %d times, want 1", l.used["b"])
	}
	next, _ := l.acquire(t.Context(), "c", 0, s)
	if l.used["a"] != 0 || l.used["b"] != 0 || l.free != 2 {
		t.Errorf("after going on: %+v", l)
	}
	next.release()
	next.visit("b") // too late to count
	if l.used["b"] != 0 || l.free != 3 {
		t.Errorf("after release: %+v", l)
	}
}
