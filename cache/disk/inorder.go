package disk

import (
	"runtime"
	"sync"
)

// InOrder calls do for the numbers from 0 up to n, on as many goroutines as there are
// processors, and deliver with each result, in the order of the numbers, on the caller's
// goroutine. If deliver returns false no further do begins. InOrder returns when every do
// that has begun has ended, so what a caller keeps of the first failure is the same
// failure in every run.
func InOrder[T any](n int, do func(i int) T, deliver func(i int, result T) bool) {
	o := &inOrder[T]{results: make([]T, n), done: make([]bool, n)}
	o.changed.L = &o.mu
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() { o.work(do) })
	}
	for i := range n {
		if !deliver(i, o.wait(i)) {
			o.stop()
			break
		}
	}
	workers.Wait()
}

type inOrder[T any] struct {
	mu      sync.Mutex
	changed sync.Cond // of done
	next    int       // the next number to do
	results []T
	done    []bool
}

func (o *inOrder[T]) work(do func(i int) T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.next < len(o.done) {
		i := o.next
		o.next++
		o.mu.Unlock()
		result := do(i)
		o.mu.Lock()
		o.results[i], o.done[i] = result, true
		o.changed.Signal()
	}
}

func (o *inOrder[T]) wait(i int) (result T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.done[i] {
		o.changed.Wait()
	}
	result, o.results[i] = o.results[i], result
	return result
}

func (o *inOrder[T]) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = len(o.done)
}
