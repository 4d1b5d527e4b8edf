package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

func TestSlotsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewSlots(2, 1)
		first, _ := l.Acquire(t.Context(), "a", 0, nil)
		var mu sync.Mutex
		var order []string
		held := map[string]*Slot{}
		want := func(host string, seq int) {
			go func() {
				s, err := l.Acquire(t.Context(), host, seq, nil)
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
		first.Release()
		first.Release() // once is enough
		synctest.Wait()
		held["b4"].Release()
		synctest.Wait()
		held["a1"].Release()
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[b4 a1 b2 a3]" {
			t.Errorf("granted in order %s", got)
		}
	})
}

func TestSlotsGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewSlots(1, 1)
		s, _ := l.Acquire(t.Context(), "a", 0, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		go func() { cancel(gone) }()
		if _, err := l.Acquire(ctx, "a", 1, nil); err != gone {
			t.Errorf("Acquire: %v", err)
		}
		// Granted and cancelled at once: the slot is not lost either way.
		go s.Release()
		if s, err := l.Acquire(ctx, "a", 2, nil); err == nil {
			s.Release()
		}
		synctest.Wait()
		if s, err := l.Acquire(t.Context(), "a", 3, nil); err != nil {
			t.Error(err)
		} else {
			s.Release()
		}
		if l.free != 1 || l.used["a"] != 0 || len(l.queue["a"]) != 0 {
			t.Errorf("left %+v", l)
		}
	})
}

// Whom a download was redirected to counts it too.
func TestSlotsVisit(t *testing.T) {
	l := NewSlots(3, 1)
	s, _ := l.Acquire(t.Context(), "a", 0, nil)
	s.Visit("b")
	s.Visit("b")
	if l.used["b"] != 1 {
		t.Errorf("b is used %d times, want 1", l.used["b"])
	}
	next, _ := l.Acquire(t.Context(), "c", 0, s)
	if l.used["a"] != 0 || l.used["b"] != 0 || l.free != 2 {
		t.Errorf("after going on: %+v", l)
	}
	next.Release()
	next.Visit("b") // too late to count
	if l.used["b"] != 0 || l.free != 3 {
		t.Errorf("after release: %+v", l)
	}
}
