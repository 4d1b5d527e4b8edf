package memo

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
)

// Memo keeps what was learnt by reading files and folders, so that the next run
// need not read them. A recollection is of one path: a file, or a folder and all
// that is in it. It holds as long as all of that is what it was: the same names,
// types and modes, and each file with the bytes that it had, of which its inode,
// size, mtime and ctime are proof enough. Where those differ the file is hashed
// again, and the folder listed.
//
// It may only ever cost time: what it is not sure of it forgets. Safe for
// concurrent use.
type Memo struct {
	root, skip string
	now        func() time.Time
	log        *zap.Logger

	home          *Home  // nil until Attach
	Stats         *Stats // spares hashing files that are large; nil: they are not
	file, heading string

	mu    sync.Mutex
	open  *os.File // root, nil until base
	kept  map[string]*entry
	dirty bool
}

// entry is of one path. Where it is packed, as a memory's file has it,
// that is all.
type entry struct {
	packed string
	items  []Item // the first is the path itself; a folder before what is in it
	value  string
}

// Item is a file, folder or link of a recollection.
type Item struct {
	Path string      // below the recollection's path, with slashes; "" is that itself
	Mode fs.FileMode // type and permissions
	Sum  [32]byte    // sha256 of a file's bytes, or of a link's target
	St   disk.Stamp
}

// ModTime is that of the last look.
func (i Item) ModTime() time.Time { return time.Unix(0, i.St.Mtime) }

// Observation is what there was before it was read.
type Observation struct {
	path  string
	items []Item
	at    time.Time
	err   error
}

// New returns a memory that is empty, of paths below the folder root, which
// no link may lead out of. In a folder that is remembered, what is called skip
// does not count ("" skips nothing).
func New(root, skip string) *Memo {
	return &Memo{
		root: root, skip: skip, now: time.Now, log: zap.NewNop(),
		kept: map[string]*entry{},
	}
}

// errForgotten is why there is nothing to recall.
var errForgotten = errors.New("it is not what it was")

// Get returns what Remember was given for path when all of it is as it was
// then, and calls see, which may be nil, for every item that makes it up. Else it
// knows nothing of path from then on.
func (m *Memo) Get(path string, see func(Item)) (value string, ok bool) {
	m.mu.Lock()
	r := m.kept[path]
	m.mu.Unlock()
	if r == nil {
		return "", false
	}
	scratch := scratches.Get().(*[]Item)
	defer scratches.Put(scratch)
	again, keep, err := m.check(path, r, scratch, true)
	if err != nil {
		m.Forget(path)
		return "", false
	}
	if see != nil {
		for _, i := range again.items {
			see(i)
		}
	}
	if keep {
		m.keep(path, again)
	}
	return again.value, true
}

// Peek is Recall that reads no file: it knows nothing where stamps differ.
func (m *Memo) Peek(path string) (value string, ok bool) {
	m.mu.Lock()
	r := m.kept[path]
	m.mu.Unlock()
	if r == nil {
		return "", false
	}
	scratch := scratches.Get().(*[]Item)
	defer scratches.Put(scratch)
	again, _, err := m.check(path, r, scratch, false)
	if err != nil {
		return "", false
	}
	return again.value, true
}

// Items are those of what is kept of path, as they were when it was last recalled or
// remembered.
func (m *Memo) Items(path string) []Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept[path] == nil {
		return nil
	}
	r, err := m.kept[path].unpack(new([]Item))
	if err != nil {
		return nil
	}
	return r.items
}

// Paths are those of which anything is kept, in no order.
func (m *Memo) Paths() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.AppendSeq(make([]string, 0, len(m.kept)), maps.Keys(m.kept))
}

// scratches are for the items of one recollection.
var scratches = sync.Pool{New: func() any { return new([]Item) }}

// Observe sees what is at path. Whoever learns something by reading it looks first,
// and tells Remember what was seen.
func (m *Memo) Observe(path string) Observation {
	started := m.now()
	items, err := m.look(path)
	return Observation{path, items, started, err}
}

// keep puts again, which check made, in the place of what it was made of.
func (m *Memo) keep(path string, again entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[path] = &entry{items: slices.Clone(again.items), value: again.value}
	m.dirty = true
}

// Put keeps value, which was learnt by reading what was seen before. It keeps
// nothing where anything changed since, or so short before that another change
// need not show.
func (m *Memo) Put(before Observation, value string) {
	items, err := m.confirm(before)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[before.path] = &entry{items: items, value: value}
	m.dirty = true
}

// Forget lets the next Recall of path know nothing.
func (m *Memo) Forget(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.kept[path]; ok {
		delete(m.kept, path)
		m.dirty = true
	}
}

// Update changes what is kept of path, without looking at it.
func (m *Memo) Update(path string, change func(value string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept[path] == nil {
		return
	}
	r, err := m.kept[path].unpack(new([]Item))
	if err != nil {
		return
	}
	r.packed, r.value = "", change(r.value)
	m.kept[path] = &r
	m.dirty = true
}

// Files yields the stamp of every file in what is kept.
func (m *Memo) Files(yield func(disk.Stamp)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var scratch []Item
	for _, r := range m.kept {
		if r, err := r.unpack(&scratch); err == nil {
			for _, i := range r.items {
				if i.Mode.IsRegular() {
					yield(i.St)
				}
			}
		}
	}
}

// confirm looks again, hashes what is there, and fails where anything is not, or
// may not be, what it was before.
func (m *Memo) confirm(before Observation) ([]Item, error) {
	if before.err != nil {
		return nil, before.err
	}
	base, err := m.base()
	if err != nil {
		return nil, err
	}
	items, err := m.look(before.path)
	if err != nil {
		return nil, err
	}
	if len(items) != len(before.items) {
		return nil, errForgotten
	}
	for i := range items {
		was, is := before.items[i], &items[i]
		switch {
		case was.Path != is.Path || was.Mode != is.Mode || !was.St.Same(is.St):
			return nil, errForgotten
		case racy(is.St, before.at):
			return nil, errors.New("it changed too short a time ago")
		}
		if err := m.hash(base, before.path, is); err != nil {
			return nil, err
		}
		m.sound(is.St.Inode)
	}
	return items, nil
}

// check compares every item with what is there now, where stamps differ by what it
// holds, if it may read that. The recollection that it returns has the stamps of
// now; its items are in scratch. Where they are others, keep says that they are old
// enough to be remembered.
func (m *Memo) check(path string, r *entry, scratch *[]Item, read bool) (again entry, keep bool, err error) {
	if again, err = r.unpack(scratch); err != nil {
		return again, false, err
	}
	started := m.now()
	base, err := m.base()
	if err != nil {
		return again, false, err
	}
	differ, young := false, false
	for i, item := range again.items {
		st, mode, err := m.lstatItem(base, path, item.Path)
		switch {
		case err != nil:
			return again, false, err
		case mode != item.Mode:
			return again, false, errForgotten
		case st.Same(item.St) && !m.suspect(st.Inode):
			continue
		case !read:
			return again, false, errForgotten
		}
		if err := m.recheck(base, path, again.items, i, st); err != nil {
			return again, false, err
		}
		again.items[i].St = st
		differ, young = true, young || racy(st, started)
	}
	return again, differ && !young, nil
}

// recheck compares an item whose stamp is not what it was by what it holds.
func (m *Memo) recheck(base *os.File, path string, items []Item, i int, st disk.Stamp) error {
	was := items[i]
	if was.Mode.IsDir() {
		return m.sameNames(base, path, items, i)
	}
	if was.Mode.IsRegular() && st.Size != was.St.Size {
		return errForgotten
	}
	now := Item{Path: was.Path, Mode: was.Mode, St: st}
	if err := m.hash(base, path, &now); err != nil {
		return err
	}
	if now.Sum != was.Sum {
		return errForgotten
	}
	m.sound(st.Inode)
	return nil
}

// Suspect reports whether a file must be read although its stamp is what it was.
func (m *Memo) suspect(id disk.Inode) bool { return m.Stats != nil && m.Stats.Suspect(id) }

func (m *Memo) sound(id disk.Inode) {
	if m.Stats != nil {
		m.Stats.Sound(id)
	}
}

// sum hashes an open file whose stamp is st.
func (m *Memo) sum(f *os.File, st disk.Stamp) ([32]byte, error) {
	if m.Stats == nil {
		return hashFile(context.Background(), f, st)
	}
	return m.Stats.SumFile(context.Background(), f)
}
