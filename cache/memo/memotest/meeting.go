// Package memotest has a clock with which tests see that files are hashed at once.
package memotest

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Meeting is a clock for a store. Whatever hashes a file asks for the time first, so once
// it is armed a Meeting lets no hash begin before two of them are about to.
type Meeting struct {
	armed, asked atomic.Bool
	met          chan struct{} // closed by the second
}

// NewMeeting returns a Meeting that is an ordinary clock until it is armed, and sees to it
// that this process has two processors until the test ends.
func NewMeeting(t *testing.T) *Meeting {
	before := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	return &Meeting{met: make(chan struct{})}
}

// Now returns the time.
func (m *Meeting) Now() time.Time {
	switch {
	case !m.armed.Load():
	case m.asked.CompareAndSwap(false, true):
		select {
		case <-m.met:
		case <-time.After(20 * time.Second): // the only one, so it waits in vain
		}
		m.armed.Store(false)
	default:
		m.armed.Store(false)
		close(m.met)
	}
	return time.Now()
}

// Want runs f, and fails the test unless two files are hashed at once in it.
func (m *Meeting) Want(t *testing.T, f func()) {
	t.Helper()
	m.armed.Store(true)
	f()
	select {
	case <-m.met:
	default:
		t.Error("files are hashed one after the other")
	}
}
