package preseed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/internal/slow"
)

// tour asks the registries in order until one has it, in rounds: one that may do
// better another time is asked again in the next round, when none of the others had
// it. Rounds that brought bytes forward are not counted. It returns the registry;
// the error is attempts, a *localError, or ctx's cause.
func (r *run) tour(ctx context.Context, states *states, img Image, size func() int64, ask func(context.Context, Registry) error) (Registry, error) {
	said := map[Registry]error{}
	for idle, best := 0, size(); idle <= r.opts.Retries; idle++ {
		if idle > 0 {
			if err := pause(ctx, max(r.opts.Backoff(idle-1), states.wait())); err != nil {
				return Registry{}, err
			}
		}
		alive := 0
		for _, reg := range states.order() {
			if final(said[reg]) {
				continue
			}
			err := ask(ctx, reg)
			if err == nil {
				states.up(reg)
				return reg, nil
			}
			var local *localError
			if ctx.Err() != nil || errors.As(err, &local) {
				return Registry{}, slow.Because(ctx, err)
			}
			said[reg] = err
			if !final(err) {
				alive++
			}
			r.gaveUp(states, img, reg, err)
		}
		if alive == 0 {
			break
		}
		if now := size(); now > best {
			best, idle = now, -1
		}
	}
	return Registry{}, r.attempts(states, said)
}

func (r *run) attempts(states *states, said map[Registry]error) error {
	var all attempts
	for _, reg := range r.opts.Registries {
		err := said[reg]
		if err == nil {
			err = states.limited(reg)
		}
		if err != nil {
			all = append(all, Attempt{reg.String(), err})
		}
	}
	return all
}

// gaveUp notes what a registry said, for the images to come too.
func (r *run) gaveUp(states *states, img Image, reg Registry, err error) {
	r.opts.Log.Warn("giving a registry up", zap.String("output", img.Output), zap.String("registry", reg.String()), zap.Error(err))
	r.status.tell(func(s Status) { s.Fail(img.Output, reg.String(), err) })
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		if next, first := states.limit(reg, limit); first {
			r.status.tell(func(s Status) { s.Warn(fmt.Sprintf("%s: %v%s", reg, limit, next)) })
		}
	case unreachable(err):
		states.down(reg)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// final errors are not worth asking the same registry again for the same thing.
// What is not known to be final is not: the network has many ways to fail.
func final(err error) bool {
	var (
		answer   *AnswerError
		sum      *cache.DigestMismatchError
		denied   *DeniedError
		missing  *NotFoundError
		redirect *RedirectError
		http     *PlainHTTPError
		status   *StatusError
		limit    *LimitError
		cert     *tls.CertificateVerificationError
		host     x509.HostnameError
		record   tls.RecordHeaderError
		dns      *net.DNSError
	)
	switch {
	case err == nil:
		return false
	case errors.As(err, &status):
		return status.Code < 500 && status.Code != 408
	case errors.As(err, &limit):
		return limit.After > patience
	case errors.As(err, &answer), errors.As(err, &sum), errors.As(err, &denied), errors.As(err, &missing), errors.As(err, &redirect), errors.As(err, &http):
		return true
	case errors.As(err, &cert), errors.As(err, &host), errors.As(err, &record):
		return true
	case errors.As(err, &dns):
		return dns.IsNotFound
	}
	return false
}

// unreachable errors are of the connection, whatever is asked for.
func unreachable(err error) bool {
	var (
		op   *net.OpError
		late *slow.Error
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		http *PlainHTTPError
	)
	return errors.As(err, &op) || errors.As(err, &late) || errors.As(err, &dns) || errors.As(err, &cert) || errors.As(err, &http)
}

// states are what is known of the registries, whatever image they are asked for:
// one for manifests and one for blobs, because Docker Hub's quota is on manifests
// and the blobs of an image that was begun may still be had.
type states struct {
	now func() time.Time

	mu    sync.Mutex
	all   []Registry
	known map[Registry]*state
}

type state struct {
	failed bool // it could not be reached
	limit  *LimitError
	until  time.Time // it wants not to be asked before
}

func newStates(all []Registry, now func() time.Time) *states {
	s := &states{all: all, now: now, known: map[Registry]*state{}}
	for _, reg := range all {
		s.known[reg] = &state{}
	}
	return s
}

// order is that of the settings; those that could not be reached come last, and
// those that refuse for a while only where there is no other.
func (s *states) order() []Registry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open, failed, limited []Registry
	for _, reg := range s.all {
		switch st := s.known[reg]; {
		case st.until.After(s.now()):
			if s.patient(st) {
				limited = append(limited, reg)
			}
		case st.failed:
			failed = append(failed, reg)
		default:
			open = append(open, reg)
		}
	}
	if all := slices.Concat(open, failed); len(all) > 0 {
		return all
	}
	return limited
}

// patient says that waiting for a registry makes sense. One that does not say how
// long is asked again at the pace of the rounds.
func (s *states) patient(st *state) bool {
	return st.limit.After == 0 || st.until.Sub(s.now()) <= patience
}

// wait is how long to wait before any registry may be asked.
func (s *states) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := patience
	for _, st := range s.known {
		left := st.until.Sub(s.now())
		if left <= 0 || st.limit.After == 0 {
			return 0
		}
		least = min(least, left)
	}
	return least
}

func (s *states) up(reg Registry)   { s.set(reg, false) }
func (s *states) down(reg Registry) { s.set(reg, true) }

func (s *states) set(reg Registry, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[reg].failed = failed
}

// limit notes a refusal. First says that it is news, next who is asked instead.
func (s *states) limit(reg Registry, e *LimitError) (next string, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.known[reg]
	first = st.limit == nil
	st.limit = e
	wait := e.After
	if wait == 0 {
		wait = time.Minute // it did not say; long enough to try the others
	}
	if until := s.now().Add(wait); until.After(st.until) {
		st.until = until
	}
	for _, other := range s.all {
		if o := s.known[other]; other != reg && !o.until.After(s.now()) {
			return "; going on with " + other.String(), first
		}
	}
	return "", first
}

// limited is why a registry is not asked now; nil where it is.
func (s *states) limited(reg Registry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.known[reg]
	if st.limit == nil || !st.until.After(s.now()) {
		return nil
	}
	return st.limit
}

// repositories are those that were opened, one for each registry and output.
type repositories struct {
	mu     sync.Mutex
	byName map[string]*opened
}

type opened struct {
	mu   sync.Mutex
	repo *Repository
}

// open opens a repository once; a failure is not remembered.
func (o *repositories) open(ctx context.Context, c *Client, reg Registry, output string) (*Repository, error) {
	return o.named(ctx, c, reg.Repository(output))
}

// named is open for a repository's full name.
func (o *repositories) named(ctx context.Context, c *Client, name string) (*Repository, error) {
	o.mu.Lock()
	if o.byName == nil {
		o.byName = map[string]*opened{}
	}
	one := o.byName[name]
	if one == nil {
		one = &opened{}
		o.byName[name] = one
	}
	o.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.repo != nil {
		return one.repo, nil
	}
	repo, err := c.Repository(ctx, name)
	if err == nil {
		one.repo = repo
	}
	return repo, err
}
