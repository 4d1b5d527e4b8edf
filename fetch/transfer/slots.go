package transfer

import (
	"context"
	"slices"
	"sync"
)

// Slots limits concurrent requests, in total and per host. A request that waits for a
// busy host does not delay requests to other hosts; among the rest, the lowest seq goes
// first.
type Slots struct {
	perHost int

	mu    sync.Mutex
	free  int
	used  map[string]int
	queue map[string][]*Slot // by host, lowest seq first
}

// Slot is held from a successful Acquire until Release.
type Slot struct {
	limiter *Slots
	seq     int
	granted chan struct{}
	hosts   []string // the requested one, then those that it redirected to
}

// NewSlots returns Slots for total concurrent requests, perHost to each host.
func NewSlots(total, perHost int) *Slots {
	return &Slots{perHost: perHost, free: total, used: map[string]int{}, queue: map[string][]*Slot{}}
}

// Acquire waits for a slot. It releases prev (nil: none) only after it has joined the
// queue, so that a source that moves on to its next mirror is not overtaken by later
// sources.
func (l *Slots) Acquire(ctx context.Context, host string, seq int, prev *Slot) (*Slot, error) {
	s := &Slot{limiter: l, seq: seq, granted: make(chan struct{}), hosts: []string{host}}
	l.mu.Lock()
	q := l.queue[host]
	at, _ := slices.BinarySearchFunc(q, seq, func(w *Slot, seq int) int { return w.seq - seq })
	l.queue[host] = slices.Insert(q, at, s)
	l.free += prev.clear()
	l.grant()
	l.mu.Unlock()
	select {
	case <-s.granted:
		return s, nil
	case <-ctx.Done():
		l.leave(s)
		return nil, context.Cause(ctx)
	}
}

// leave removes s from the queue, or releases it if it was granted meanwhile.
func (l *Slots) leave(s *Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := s.hosts[0]
	if i := slices.Index(l.queue[host], s); i >= 0 {
		l.queue[host] = slices.Delete(l.queue[host], i, i+1)
		return
	}
	l.free += s.clear()
	l.grant()
}

// Release releases s. A second call, or one on nil, does nothing.
func (s *Slot) Release() {
	if s == nil {
		return
	}
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	s.limiter.free += s.clear()
	s.limiter.grant()
}

// Visit also counts s for a host that it was redirected to, even above the limit: waiting
// would block the slots of two hosts.
func (s *Slot) Visit(host string) {
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	if len(s.hosts) > 0 && !slices.Contains(s.hosts, host) {
		s.hosts = append(s.hosts, host)
		s.limiter.used[host]++
	}
}

// clear removes s from the counts of its hosts and returns how many slots that frees.
func (s *Slot) clear() int {
	if s == nil || len(s.hosts) == 0 {
		return 0
	}
	for _, h := range s.hosts {
		s.limiter.used[h]--
	}
	s.hosts = nil
	return 1
}

// grant gives slots to the waiting requests that may go.
func (l *Slots) grant() {
	for l.free > 0 {
		host, ok := l.next()
		if !ok {
			return
		}
		s := l.queue[host][0]
		l.queue[host] = l.queue[host][1:]
		if len(l.queue[host]) == 0 {
			delete(l.queue, host)
		}
		l.free--
		l.used[host]++
		close(s.granted)
	}
}

// next returns the host with room whose first waiter has the lowest seq.
func (l *Slots) next() (host string, ok bool) {
	for h, q := range l.queue {
		if len(q) == 0 || l.used[h] >= l.perHost {
			continue
		}
		if !ok || q[0].seq < l.queue[host][0].seq {
			host, ok = h, true
		}
	}
	return host, ok
}

// KeyedMutex is a set of locks by key. The zero value is ready.
type KeyedMutex[K comparable] struct {
	mu   sync.Mutex
	held map[K]chan struct{}
}

// Lock waits for the lock of a key, or until ctx ends: then the error is the cause.
func (k *KeyedMutex[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[K]chan struct{}{}
	}
	c := k.held[key]
	if c == nil {
		c = make(chan struct{}, 1)
		k.held[key] = c
	}
	k.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
