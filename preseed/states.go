package preseed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// rounds calls ask for the registries in order, until it succeeds for one, which it
// returns. The error is a transfer.Attempts, one of this machine, or ctx's cause.
func (r *run) rounds(ctx context.Context, states *states, img Image, size func() int64, ask func(context.Context, Registry, *Repository) error) (Registry, error) {
	rounds := transfer.Rounds[Registry]{
		Retries: r.opts.Retries, Backoff: r.opts.Backoff, Size: size, Order: states.order, Rest: states.wait,
		Said: map[Registry]error{},
		GaveUp: func(reg Registry, err error, again bool) {
			r.opts.Log.Warn("giving a registry up", zap.String("output", img.Output), zap.String("registry", reg.String()), zap.Error(err))
			if !again {
				r.status.Tell(func(s Status) { s.Fail(img.Output, reg.String(), err) })
			}
			r.learn(states, reg, err)
		},
		Ask: func(ctx context.Context, reg Registry, retries int) error {
			repo, err := r.client.Repository(ctx, reg.Repository(img.Output))
			if err != nil {
				return err
			}
			return ask(ctx, reg, repo.Retrying(retries, r.opts.Backoff))
		},
	}
	reg, found, err := rounds.Run(ctx)
	if found {
		states.up(reg)
	}
	if found || err != nil {
		return reg, err
	}
	return reg, r.attempts(states, rounds.Said)
}

func (r *run) attempts(states *states, said map[Registry]error) error {
	var all transfer.Attempts
	for _, reg := range r.opts.Registries {
		err := said[reg]
		if err == nil {
			err = states.limited(reg)
		}
		if err != nil {
			all = append(all, transfer.Attempt{Place: reg.String(), Reason: err})
		}
	}
	return all
}

// learn records why a registry failed, so that other images can avoid it.
func (r *run) learn(states *states, reg Registry, err error) {
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		if next, first := states.limit(reg, limit); first {
			r.status.Tell(func(s Status) { s.Warn(fmt.Sprintf("%s: %v%s", reg, limit, next)) })
		}
	case unreachable(err):
		states.down(reg)
	}
}

// unreachable reports whether err is one of the connection, which any request would get.
func unreachable(err error) bool {
	var (
		op   *net.OpError
		late *transfer.StallError
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		http *PlainHTTPError
	)
	return errors.As(err, &op) || errors.As(err, &late) || errors.As(err, &dns) || errors.As(err, &cert) || errors.As(err, &http)
}

// states records which registries answer, for all images of a run. There is one for
// manifests and one for blobs: Docker Hub's quota counts manifests, and the blobs of an
// image that was begun may still be downloaded.
type states struct {
	now func() time.Time

	mu    sync.Mutex
	all   []Registry
	known map[Registry]*state
}

type state struct {
	failed bool // it could not be reached
	limit  *LimitError
	until  time.Time // not to be asked before
}

func newStates(all []Registry, now func() time.Time) *states {
	s := &states{all: all, now: now, known: map[Registry]*state{}}
	for _, reg := range all {
		s.known[reg] = &state{}
	}
	return s
}

// order returns the registries in the order of the settings, the unreachable ones last.
// Those that limit requests are left out, unless there is no other.
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

// patient reports whether to wait for a registry that limits requests. One that does not
// say for how long is asked again in the next round.
func (s *states) patient(st *state) bool {
	return st.limit.After == 0 || st.until.Sub(s.now()) <= transfer.Patience
}

// wait returns how long to wait until a registry may be asked.
func (s *states) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := transfer.Patience
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

// limit records that a registry limits requests. first reports whether that is new; next
// says, for a message, which registry is asked instead.
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

// limited returns why a registry is not asked now; nil if it is.
func (s *states) limited(reg Registry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.known[reg]
	if st.limit == nil || !st.until.After(s.now()) {
		return nil
	}
	return st.limit
}
