package disk

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestInOrder: several run at once, each of them waiting for another; no more than there
// are processors; results come in order.
func TestInOrder(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	var running, most atomic.Int64
	var pair sync.WaitGroup
	pair.Add(2)
	var got []int
	InOrder(100, func(i int) int {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		if i < 2 { // ends only if both run
			pair.Done()
			pair.Wait()
		}
		return i * i
	}, func(i, result int) bool {
		if result != i*i {
			t.Errorf("the result of %d is %d", i, result)
		}
		got = append(got, i)
		return true
	})
	if !slices.IsSorted(got) || len(got) != 100 {
		t.Errorf("delivered %v", got)
	}
	if most.Load() > 3 {
		t.Errorf("%d at once, with 3 processors", most.Load())
	}
}

// TestInOrderStops: the first result that is refused is the same however long each takes,
// nothing begins after it, and nothing goes on when InOrder has returned.
func TestInOrderStops(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for range 200 {
		var begun, ended atomic.Int64
		var refused []int
		later := make(chan struct{})
		InOrder(1000, func(i int) bool {
			begun.Add(1)
			defer ended.Add(1)
			if i == 3 { // fails at once, but after 2 in order
				close(later)
				return false
			}
			if i == 2 {
				<-later
				return false
			}
			return true
		}, func(i int, ok bool) bool {
			if !ok {
				refused = append(refused, i)
			}
			return ok
		})
		if !slices.Equal(refused, []int{2}) {
			t.Fatalf("refused %v, want only 2", refused)
		}
		if begun.Load() != ended.Load() {
			t.Fatal("something goes on")
		}
	}
	InOrder(0, func(int) int { panic("none") }, func(int, int) bool { panic("none") })
}
