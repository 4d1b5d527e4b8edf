package memo

import "slices"

// Past is the least age of an mtime that PutMade accepts. A change of a file or folder sets
// its mtime to the present, on old filesystems to the last even second.
const Past = 2 * racyWindow

// PutMade is Put for something that this process has made and has now moved to path. Made
// lists all of it as it was before that, each item with an mtime at least [Past] ago: any
// change since, however soon, gave the item another mtime. So nothing is read again, and
// only path itself, whose ctime the move has changed, is looked at: the others keep the
// stamps that they were made with. It keeps nothing if path is not what was made.
func (m *Memo) PutMade(path string, made []Item, value string) {
	items, err := m.confirmMade(path, made)
	if err != nil {
		m.Forget(path)
		return
	}
	if m.Stats != nil {
		for _, i := range items {
			if i.Mode.IsRegular() {
				m.Stats.rememberMade(i.St, i.Sum)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[path] = newEntry(path, items, value)
	m.dirty = true
}

// confirmMade returns the items, the first with the stamp of now.
func (m *Memo) confirmMade(path string, made []Item) ([]Item, error) {
	latest := m.now().Add(-racyWindow).UnixNano()
	base, err := m.base()
	if err != nil {
		return nil, err
	}
	for _, item := range made {
		if item.St.Mtime > latest || m.suspect(item.St.Inode) {
			return nil, errForgotten
		}
	}
	st, mode, err := m.lstatItem(base, path, "")
	if err != nil {
		return nil, err
	}
	items := slices.Clone(made)
	was := &items[0]
	if was.Path != "" || mode != was.Mode || st.Inode != was.St.Inode || st.Mtime != was.St.Mtime || st.Size != was.St.Size {
		return nil, errForgotten
	}
	was.St = st
	return items, nil
}
