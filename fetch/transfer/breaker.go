package transfer

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// offlineAfter is how long requests must have failed. A laptop that wakes up has no
	// network for a moment.
	offlineAfter = 10 * time.Second
	// offlineHosts is how many hosts must have failed.
	offlineHosts = 2
)

// Breaker detects that this machine has no network: for ten seconds every request failed
// for a local cause, to at least two hosts. From then on requests fail at once with a
// *NoNetworkError, instead of each with all its retries. Once any request gets further,
// even to a refused connection, the Breaker lets all requests pass for good. The zero
// value is usable; a nil Breaker lets everything pass.
type Breaker struct {
	mu     sync.Mutex
	began  time.Time // of the first request
	passed bool      // a request got further than this machine
	hosts  map[string]bool
	broken *NoNetworkError
}

// NoNetworkError means that a request was not sent because there is no network.
type NoNetworkError struct{ Err error } // of the last request that was sent

func (e *NoNetworkError) Error() string {
	return "not asked, because no request left this machine: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *NoNetworkError) Unwrap() error { return e.Err }

// check is called before each request. The error is a *NoNetworkError.
func (b *Breaker) check(now time.Time) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.began.IsZero() {
		b.began = now
	}
	if b.broken != nil {
		return b.broken
	}
	return nil
}

// record is called with the result of each request that was not cancelled.
func (b *Breaker) record(host string, now time.Time, err error) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !atHome(err) {
		b.passed, b.broken = true, nil
	}
	if b.passed || b.broken != nil {
		return
	}
	if b.hosts == nil {
		b.hosts = map[string]bool{}
	}
	b.hosts[host] = true
	if len(b.hosts) >= offlineHosts && now.Sub(b.began) >= offlineAfter {
		b.broken = &NoNetworkError{err}
	}
}

// atHome reports whether a request failed before it left this machine's network: there
// is no route, or no name server answers.
func atHome(err error) bool {
	for _, e := range []error{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	var dns *net.DNSError
	return errors.As(err, &dns) && !dns.IsNotFound
}
