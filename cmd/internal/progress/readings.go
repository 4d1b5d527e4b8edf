package progress

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Readings are large files that are being read, for the line of a [Meter]. Its methods may
// be called concurrently. The zero value has none.
type Readings struct {
	mu  sync.Mutex
	all []*Reading
}

// A Reading is a file that is read.
type Reading struct {
	of    *Readings
	name  string
	size  int64 // in bytes
	done  func() int64
	bytes atomic.Int64
	began time.Time
}

// Begin adds a file of size bytes.
func (r *Readings) Begin(name string, size int64) *Reading {
	one := &Reading{name: name, size: size}
	one.done = one.bytes.Load
	r.add(one)
	return one
}

// Watch is Begin for a file that others read: done returns how many bytes were.
func (r *Readings) Watch(name string, size int64, done func() int64) *Reading {
	one := &Reading{name: name, size: size, done: done}
	r.add(one)
	return one
}

func (r *Readings) add(one *Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one.of, one.began = r, time.Now()
	r.all = append(r.all, one)
	slices.SortStableFunc(r.all, func(a, b *Reading) int { return strings.Compare(a.name, b.name) })
}

// Add says that n bytes more were read.
func (one *Reading) Add(n int64) { one.bytes.Add(n) }

// End takes the file away. It may be called again.
func (one *Reading) End() {
	one.of.mu.Lock()
	defer one.of.mu.Unlock()
	one.of.all = slices.DeleteFunc(one.of.all, func(other *Reading) bool { return other == one })
}

// Text is "A, layer 1: 25% of 40MiB, 5MiB/s, 6s left; B, layer 1: …", and "" if nothing is
// read.
func (r *Readings) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, one := range r.all {
		parts = append(parts, one.text(time.Now()))
	}
	return strings.Join(parts, "; ")
}

func (one *Reading) text(now time.Time) string {
	done, spent := one.done(), max(now.Sub(one.began), time.Millisecond)
	rate := int64(float64(done) / spent.Seconds())
	said := fmt.Sprintf("%s: %s of %s, %s/s", one.name, percent(done, one.size), text.Bytes(one.size), text.Bytes(rate))
	if left := one.size - done; rate > 0 && left > 0 {
		said += fmt.Sprintf(", %s left", text.Duration(time.Duration(left/rate)*time.Second))
	}
	return said
}
