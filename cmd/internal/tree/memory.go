package tree

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
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/graph"
)

// definitions spares reading definitions that are as they were: what graph.Load
// learnt of them, and what their folders hold.
type definitions struct {
	Memory *memo.Memo
	mu     sync.Mutex
	known  map[string]recalled         // definitions that were recalled
	seen   map[string]memo.Observation // those that are read

	numbered []recalled // known, by the definition's number
}

// recalled is what every run wants to know of a definition.
type recalled struct {
	print  [32]byte  // a hash of all that it says and holds
	newest time.Time // mtime of its files
}

var _ graph.Memory = (*definitions)(nil)

func NewDefinitions(dir string) *definitions {
	return &definitions{Memory: memo.New(dir, "fetch"), known: map[string]recalled{}, seen: map[string]memo.Observation{}}
}

func (d *definitions) Attach(s *cache.Store) { d.Memory.Attach(s.MemoryHome(), "definitions") }

// Recall implements [graph.Memory].
func (d *definitions) Recall(dir string) (string, bool) {
	var known recalled
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	buf := (*scratch)[:0]
	learnt, ok := d.Memory.Get(dir, func(i memo.Item) {
		buf = append(binary.AppendUvarint(buf, uint64(len(i.Path))), i.Path...)
		buf = append(binary.AppendUvarint(buf, uint64(i.Mode)), i.Sum[:]...)
		if !i.Mode.IsDir() && i.ModTime().After(known.newest) {
			known.newest = i.ModTime()
		}
	})
	var seen memo.Observation
	if ok {
		items := sha256.Sum256(buf)
		buf = append(append(buf[:0], items[:]...), learnt...)
		known.print = sha256.Sum256(buf)
	} else {
		seen = d.Memory.Observe(dir)
	}
	*scratch = buf
	d.mu.Lock()
	defer d.mu.Unlock()
	if ok {
		d.known[dir] = known
	} else {
		d.seen[dir] = seen
	}
	return learnt, ok
}

// Remember implements [graph.Memory].
func (d *definitions) Remember(def *graph.Definition, learnt string) {
	d.mu.Lock()
	seen, ok := d.seen[def.Dir]
	delete(d.seen, def.Dir)
	d.mu.Unlock()
	if ok {
		d.Memory.PutRead(seen, learnt, map[string][]byte{
			"Containerfile": def.Containerfile, "package.toml": def.PackageTOML,
		})
	}
}

// Forget implements [graph.Memory].
func (d *definitions) Forget(dir string) {
	d.Memory.Forget(dir)
	d.mu.Lock()
	delete(d.known, dir)
	d.mu.Unlock()
}

// Items are what a definition's folder held when it was recalled, none when it was
// read.
func (d *definitions) Items(def *graph.Definition) []memo.Item {
	if _, ok := d.recalled(def); !ok {
		return nil
	}
	return d.Memory.Items(def.Dir)
}

// number sorts what is known by the definitions' numbers, once all are loaded.
func (d *definitions) number(g *graph.Graph) {
	definitions := g.Definitions()
	d.numbered = make([]recalled, len(definitions))
	for i, def := range definitions {
		d.numbered[i] = d.known[def.Dir]
	}
	d.known, d.seen = map[string]recalled{}, map[string]memo.Observation{} // an empty map keeps the room that it had
}

// recalled is what is known of a definition that was not read.
func (d *definitions) recalled(def *graph.Definition) (r recalled, ok bool) {
	r = d.numbered[def.Number()]
	return r, r.print != [32]byte{}
}

// scratches spare a run of thousands of definitions as many kilobytes of garbage.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// listItems is list for what was recalled.
func listItems(items []memo.Item) []Listed {
	list := make([]Listed, 0, len(items))
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
		list = append(list, Listed{i.Path, mode.String(), hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(list, func(a, b Listed) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// exists reports whether the store was opened before: only then is there anything
// to recall, and only then may reading a tree touch it.
func (o Options) exists(dir string) bool {
	state := o.State
	if state == "" {
		state = dir + "/.sx"
	}
	_, err := os.Lstat(state)
	return !errors.Is(err, fs.ErrNotExist)
}
