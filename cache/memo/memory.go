package memo

import (
	"context"
	"crypto/sha256"
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

// Memo keeps values that were made by reading files and folders, so that the next run
// need not read them. An entry is about one path: a file, or a folder and everything in
// it. It holds as long as all of that is the same: the same names, types and modes, and
// each file with the same bytes, of which an equal inode, size, mtime and ctime is enough
// proof. If these differ the file is hashed again, or the folder listed.
//
// A mistake may only cost time: what a Memo is not sure of it forgets. It is safe for
// concurrent use.
type Memo struct {
	root, skip string
	now        func() time.Time
	log        *zap.Logger

	home          *Home  // nil until Attach
	Stats         *Stats // spares hashing large files; nil hashes them each time
	file, heading string

	mu      sync.Mutex
	open    *os.File // root; nil until base is called
	entries map[string]*entry
	dirty   bool
}

// entry is about one path. In a Memo it has packed only, which takes the least room.
type entry struct {
	packed string
	items  []Item // the first is the path itself; a folder comes before its contents
	value  string
}

// Item is a file, folder or link of an entry.
type Item struct {
	Path string      // below the entry's path, with slashes; "" is that path itself
	Mode fs.FileMode // type and permissions
	Sum  [32]byte    // sha256 of a file's bytes, or of a link's target
	St   disk.Stamp  // of an item that was kept, what [disk.Stamp.Same] compares
}

// ModTime returns the mtime when the item was last looked at.
func (i Item) ModTime() time.Time { return time.Unix(0, i.St.Mtime) }

// Observation is what was at a path before it was read.
type Observation struct {
	path  string
	items []Item
	at    time.Time
	err   error
}

// New returns an empty Memo of paths below the folder root, out of which no link may
// lead. An entry called skip in a remembered folder does not count; "" skips none.
func New(root, skip string) *Memo {
	return &Memo{
		root: root, skip: skip, now: time.Now, log: zap.NewNop(),
		entries: map[string]*entry{},
	}
}

// errForgotten is why an entry does not hold.
var errForgotten = errors.New("it has changed")

// Get returns the value that Put got for path, if nothing has changed since, and calls
// see, which may be nil, for every item. If something has changed, the entry is dropped.
func (m *Memo) Get(path string, see func(Item)) (value string, ok bool) {
	r := m.entry(path)
	if r == nil {
		return "", false
	}
	scratch := scratches.Get().(*[]Item)
	defer scratches.Put(scratch)
	refreshed, update, err := m.check(path, r, scratch, true)
	if err != nil {
		m.Forget(path)
		return "", false
	}
	if see != nil {
		for _, i := range refreshed.items {
			see(i)
		}
	}
	if update {
		m.replace(path, refreshed)
	}
	return refreshed.value, true
}

// entry returns the entry of path, or nil.
func (m *Memo) entry(path string) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[path]
}

// Peek is Get without reading any file: it returns nothing if a stamp differs.
func (m *Memo) Peek(path string) (value string, ok bool) {
	r := m.entry(path)
	if r == nil {
		return "", false
	}
	scratch := scratches.Get().(*[]Item)
	defer scratches.Put(scratch)
	refreshed, _, err := m.check(path, r, scratch, false)
	if err != nil {
		return "", false
	}
	return refreshed.value, true
}

// Glance is Peek that looks only at path itself, not at what is in it: it returns nothing
// if another file or folder has that name now.
func (m *Memo) Glance(path string) (value string, ok bool) {
	r := m.entry(path)
	if r == nil {
		return "", false
	}
	scratch := scratches.Get().(*[]Item)
	defer scratches.Put(scratch)
	e, err := r.unpack(scratch)
	if err != nil {
		return "", false
	}
	base, err := m.base()
	if err != nil {
		return "", false
	}
	st, _, err := m.lstatItem(base, path, "")
	return e.value, err == nil && st.Same(e.items[0].St)
}

// Items returns the items of the entry of path, as of the last Get or Put.
func (m *Memo) Items(path string) []Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[path] == nil {
		return nil
	}
	r, err := m.entries[path].unpack(new([]Item))
	if err != nil {
		return nil
	}
	return r.items
}

// Paths returns the paths that have an entry, in no order.
func (m *Memo) Paths() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.AppendSeq(make([]string, 0, len(m.entries)), maps.Keys(m.entries))
}

// scratches hold the items of one entry while it is checked.
var scratches = sync.Pool{New: func() any { return new([]Item) }}

// Observe looks at path. A caller observes a path before it reads it, and gives the
// result to Put.
func (m *Memo) Observe(path string) Observation {
	started := m.now()
	items, err := m.look(path)
	return Observation{path, items, started, err}
}

// replace replaces the entry of path by the refreshed one that check returned.
func (m *Memo) replace(path string, refreshed entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[path] = newEntry(path, refreshed.items, refreshed.value)
	m.dirty = true
}

// Put keeps a value that was made by reading what before describes. It keeps nothing if
// anything has changed since, or so shortly before that another change may not show.
func (m *Memo) Put(before Observation, value string) { m.PutRead(before, value, nil) }

// PutRead is Put of a caller that still has the bytes of some items, by path: they are not
// read again.
func (m *Memo) PutRead(before Observation, value string, read map[string][]byte) {
	items, err := m.confirm(before, read)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[before.path] = newEntry(before.path, items, value)
	m.dirty = true
}

// Forget drops the entry of path.
func (m *Memo) Forget(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.entries[path]; ok {
		delete(m.entries, path)
		m.dirty = true
	}
}

// Update changes the value of path, without looking at path.
func (m *Memo) Update(path string, change func(value string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[path] == nil {
		return
	}
	r, err := m.entries[path].unpack(new([]Item))
	if err != nil {
		return
	}
	m.entries[path] = newEntry(path, r.items, change(r.value))
	m.dirty = true
}

// Files yields the stamp of every file in every entry.
func (m *Memo) Files(yield func(disk.Stamp)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var scratch []Item
	for _, r := range m.entries {
		if r, err := r.unpack(&scratch); err == nil {
			for _, i := range r.items {
				if i.Mode.IsRegular() {
					yield(i.St)
				}
			}
		}
	}
}

// confirm looks at the path again and hashes its files, or what was read of them. It fails if anything differs, or
// may differ, from what was there before.
func (m *Memo) confirm(before Observation, read map[string][]byte) ([]Item, error) {
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
		if data, ok := read[is.Path]; ok && is.Mode.IsRegular() && int64(len(data)) == is.St.Size {
			is.Sum = sha256.Sum256(data)
		} else if err := m.hash(base, before.path, is); err != nil {
			return nil, err
		}
		m.sound(is.St.Inode)
	}
	return items, nil
}

// check compares every item with what is there now, and with read, if stamps differ, by
// content. The refreshed entry has the stamps of now, and its items are in scratch. If
// stamps differed and are old enough to be remembered, update is set.
func (m *Memo) check(path string, r *entry, scratch *[]Item, read bool) (refreshed entry, update bool, err error) {
	if refreshed, err = r.unpack(scratch); err != nil {
		return refreshed, false, err
	}
	started := m.now()
	base, err := m.base()
	if err != nil {
		return refreshed, false, err
	}
	differ, young := false, false
	for i, item := range refreshed.items {
		st, mode, err := m.lstatItem(base, path, item.Path)
		switch {
		case err != nil:
			return refreshed, false, err
		case mode != item.Mode:
			return refreshed, false, errForgotten
		case st.Same(item.St) && !m.suspect(st.Inode):
			continue
		case !read:
			return refreshed, false, errForgotten
		}
		if err := m.recheck(base, path, refreshed.items, i, st); err != nil {
			return refreshed, false, err
		}
		refreshed.items[i].St = st
		differ, young = true, young || racy(st, started)
	}
	return refreshed, differ && !young, nil
}

// recheck compares an item whose stamp has changed by content.
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

// suspect reports whether a file must be read although its stamp is unchanged.
func (m *Memo) suspect(id disk.Inode) bool { return m.Stats != nil && m.Stats.Suspect(id) }

func (m *Memo) sound(id disk.Inode) {
	if m.Stats != nil {
		m.Stats.Sound(id)
	}
}

// sum returns the hash of an open file whose stamp is st.
func (m *Memo) sum(f *os.File, st disk.Stamp) ([32]byte, error) {
	if m.Stats == nil {
		return hashFile(context.Background(), f, st)
	}
	return m.Stats.SumFile(context.Background(), f)
}
