package build

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// definitions spares reading definitions that are as they were: what graph.Load
// learnt of them, and what their folders hold.
type definitions struct {
	memory *cache.Memory
	mu     sync.Mutex
	known  map[string]recalled   // definitions that were recalled
	seen   map[string]cache.Seen // those that are read
}

type recalled struct {
	learnt string
	items  []cache.Item
}

var _ graph.Memory = (*definitions)(nil)

func newDefinitions(dir string) *definitions {
	return &definitions{cache.NewMemory(dir, "fetch"), sync.Mutex{}, map[string]recalled{}, map[string]cache.Seen{}}
}

func (d *definitions) attach(s *cache.Store) { d.memory.Attach(s, "definitions") }

// Recall implements [graph.Memory].
func (d *definitions) Recall(dir string) (string, bool) {
	learnt, items, ok := d.memory.Recall(dir)
	var seen cache.Seen
	if !ok {
		seen = d.memory.Look(dir)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ok {
		d.known[dir] = recalled{learnt, items}
	} else {
		d.seen[dir] = seen
	}
	return learnt, ok
}

// Remember implements [graph.Memory].
func (d *definitions) Remember(dir, learnt string) {
	d.mu.Lock()
	seen, ok := d.seen[dir]
	delete(d.seen, dir)
	d.mu.Unlock()
	if ok {
		d.memory.Remember(seen, learnt)
	}
}

// Forget implements [graph.Memory].
func (d *definitions) Forget(dir string) {
	d.memory.Forget(dir)
	d.mu.Lock()
	delete(d.known, dir)
	d.mu.Unlock()
}

// items are what a definition's folder held when it was recalled, none when it was
// read.
func (d *definitions) items(def *graph.Definition) []cache.Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[def.Dir].items
}

// fingerprint is a hash of all that a definition that was recalled says and holds.
func (d *definitions) fingerprint(def *graph.Definition) (print [32]byte, ok bool) {
	d.mu.Lock()
	r, ok := d.known[def.Dir]
	d.mu.Unlock()
	if !ok {
		return print, false
	}
	buf := make([]byte, 0, len(r.learnt)+80*len(r.items))
	buf = append(binary.AppendUvarint(buf, uint64(len(r.learnt))), r.learnt...)
	for _, i := range r.items {
		buf = append(binary.AppendUvarint(buf, uint64(len(i.Path))), i.Path...)
		buf = append(binary.AppendUvarint(buf, uint64(i.Mode)), i.Sum[:]...)
	}
	return sha256.Sum256(buf), true
}

// listItems is list for what was recalled.
func listItems(items []cache.Item) []listed {
	list := make([]listed, 0, len(items))
	for _, i := range items {
		if i.Path == "" {
			continue
		}
		mode, sum := fs.FileMode(0o644), i.Sum
		switch {
		case i.Mode.IsDir():
			mode, sum = fs.ModeDir|0o755, sha256.Sum256(nil)
		case i.Mode&fs.ModeSymlink != 0:
			mode = fs.ModeSymlink | 0o777
		case i.Mode&0o100 != 0:
			mode = 0o755
		}
		list = append(list, listed{i.Path, mode.String(), hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// exists reports whether the store was opened before: only then is there anything
// to recall, and only then may reading a tree touch it.
func (o TreeOptions) exists(dir string) bool {
	state := o.State
	if state == "" {
		state = dir + "/.sx"
	}
	_, err := os.Lstat(state)
	return !errors.Is(err, fs.ErrNotExist)
}
