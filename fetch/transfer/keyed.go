package transfer

import (
	"context"
	"sync"
)

// Keyed are locks by key. The zero value is ready.
type Keyed[K comparable] struct {
	mu   sync.Mutex
	held map[K]chan struct{}
}

// Lock waits for the lock of a key, or until ctx ends: then the error is the cause.
func (k *Keyed[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
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
