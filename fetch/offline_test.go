package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A run of many sources ends in seconds if this machine has no network, and in no other
// case: a network that comes back in time, and hosts that refuse, are asked as always.
func TestNoNetwork(t *testing.T) {
	const sources = 200
	noRoute := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	noDNS := &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		name   string
		hosts  int
		fails  func(host string, since time.Duration) error
		broken bool
	}{
		{"no route", 100, func(string, time.Duration) error { return noRoute }, true},
		{"no name server", 100, func(string, time.Duration) error { return noDNS }, true},
		{"two hosts", 2, func(string, time.Duration) error { return noRoute }, true},
		{"one host", 1, func(string, time.Duration) error { return noRoute }, false},
		{"refused", 100, func(string, time.Duration) error { return refused }, false},
		{"one refuses", 100, func(host string, _ time.Duration) error {
			if host == "h7.example" {
				return refused
			}
			return noRoute
		}, false},
		{"back after 5 s", 100, func(_ string, since time.Duration) error {
			if since > 5*time.Second {
				return refused
			}
			return noRoute
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int64
				start := time.Now()
				opts := Options{Tree: t.TempDir(), Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
					requests.Add(1)
					return nil, c.fails(req.URL.Hostname(), time.Since(start))
				})}
				_, err := Run(t.Context(), manySources(sources, c.hosts), opts)
				var failed *Error
				if !errors.As(err, &failed) || len(failed.Failures) != sources {
					t.Fatal(err)
				}
				var offline *transfer.NoNetworkError
				if got := errors.As(err, &offline); got != c.broken {
					t.Errorf("no network: %v, want %v", got, c.broken)
				}
				took := time.Since(start)
				t.Logf("%v, %d requests", took, requests.Load())
				if c.broken && took > 30*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// manySources returns sources of which each has one mirror, on one of some hosts.
func manySources(n, hosts int) (all []Source) {
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		all = append(all, Source{
			Name: "core-x: " + name, Path: "fetch/core/x/" + name, Hash: graph.Hash{byte(i), byte(i >> 8), 1},
			Mirrors: []string{fmt.Sprintf("https://h%d.example/%s", i%hosts, name)},
		})
	}
	return all
}
