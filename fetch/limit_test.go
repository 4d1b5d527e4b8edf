package fetch

import (
	"fmt"
	"net/http"
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
		w.opts.Jobs, w.opts.PerHost, w.opts.Limits.MinRate = 5, 3, -1
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
