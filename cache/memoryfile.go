package cache

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// A memory's file: a heading that names the memory and the build of sx; each
// recollection as a text; the HMAC-SHA256 of all that. A text has its length
// before it, numbers are varints.
const (
	memoryPurpose = "sx memory 2"
	memoryLimit   = 1 << 30
)

// Attach reads what Save left in the store under the same name, by the same build
// of sx. What is damaged, of another build or not this user's is not believed, with a
// word in the log: who learnt it might have understood something else. It reads
// beside its caller; whoever asks the memory of something waits for it.
func (m *Memory) Attach(s *Store, name string) {
	m.now, m.log = s.now, s.log
	if s.build == "" {
		return
	}
	m.store, m.heading = s, fmt.Sprintf("%s %s %s\n", memoryPurpose, name, s.build)
	m.file = s.Dir("memory", name)
	m.mu.Lock()
	go func() {
		defer m.mu.Unlock()
		m.readKept()
	}()
}

// readKept needs the lock.
func (m *Memory) readKept() {
	kept, err := m.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Debug("memory is not used", zap.String("path", m.file), zap.Error(err))
	}
	if err == nil {
		maps.Copy(kept, m.kept)
		m.kept = kept
	}
}

// Save writes what changed since Attach; of two processes the last wins. What
// exists no more is left out. Where nothing may be written, nothing is.
func (m *Memory) Save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty || m.store == nil || m.store.readOnly != nil {
		return nil
	}
	if _, err := m.store.Folder("memory"); err != nil {
		return fmt.Errorf("saving what was learnt: %w", err)
	}
	if err := WriteFile(m.file, m.format(), 0o600, m.store.Dir("tmp")); err != nil {
		return fmt.Errorf("saving what was learnt: %w", err)
	}
	m.dirty = false
	return nil
}

// format needs the lock.
func (m *Memory) format() []byte {
	buf := []byte(m.heading)
	for _, path := range slices.Sorted(maps.Keys(m.kept)) {
		r := m.kept[path]
		if r.packed == "" {
			r = &recollection{packed: pack(path, r)}
		} else if _, _, err := lstat(m.path(path, "")); err != nil {
			continue
		}
		buf = appendText(buf, r.packed)
	}
	return append(buf, m.store.key.sum(memoryPurpose, buf)...)
}

// read returns recollections that are packed.
func (m *Memory) read() (map[string]*recollection, error) {
	text, err := m.readChecked()
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(text, m.heading)
	if !ok {
		return nil, errors.New("it is of another build of sx")
	}
	n := 0
	u := unpacker{text: rest}
	for ; u.text != ""; n++ {
		u.string()
	}
	if u.failed {
		return nil, errors.New("it is damaged")
	}
	kept, all := make(map[string]*recollection, n), make([]recollection, n)
	u.text = rest
	for i := range all {
		all[i].packed = u.string()
		path := (&unpacker{text: all[i].packed}).string()
		if path == "" {
			return nil, errors.New("it is damaged")
		}
		kept[path] = &all[i]
	}
	return kept, nil
}

// readChecked returns the file without its MAC, in the one place that it was read
// to: all that is recalled are parts of it.
func (m *Memory) readChecked() (string, error) {
	f, err := openRegular(unix.AT_FDCWD, m.file, m.file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	at := int(info.Size()) - sha256.Size
	if at < 0 || at > memoryLimit {
		return "", errors.New("it is damaged")
	}
	data := outside(int(info.Size()))
	if _, err := io.ReadFull(f, data); err != nil {
		return "", err
	}
	if !hmac.Equal(data[at:], m.store.key.sum(memoryPurpose, data[:at])) {
		return "", errors.New("it is damaged, or not written by this user")
	}
	return unsafe.String(unsafe.SliceData(data), at), nil
}

// outside returns memory for as long as the process lives. Where it is much, it is
// not the garbage collector's, which would let garbage grow by a share of it.
func outside(n int) []byte {
	if n >= 1<<20 {
		if data, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err == nil {
			return data
		}
	}
	return make([]byte, n)
}

func pack(path string, r *recollection) string {
	buf := appendText(nil, path)
	buf = binary.AppendUvarint(buf, uint64(len(r.items)))
	for _, i := range r.items {
		buf = appendText(buf, i.Path)
		buf = binary.AppendUvarint(buf, uint64(i.Mode))
		for _, n := range []int64{int64(i.st.Dev), int64(i.st.Ino), i.st.Size, i.st.Mtime, i.st.Ctime} {
			buf = binary.AppendVarint(buf, n)
		}
		if !i.Mode.IsDir() {
			buf = append(buf, i.Sum[:]...)
		}
	}
	return string(append(buf, r.value...))
}

// unpack returns a copy of r, which may be packed. Its items are in scratch, which
// grows where it must.
func (r *recollection) unpack(scratch *[]Item) (recollection, error) {
	if r.packed == "" {
		*scratch = append((*scratch)[:0], r.items...)
		return recollection{items: *scratch, value: r.value}, nil
	}
	u := unpacker{text: r.packed}
	u.string()
	n := u.uint()
	if n > maxItems {
		return recollection{}, errors.New("it is damaged")
	}
	items := slices.Grow((*scratch)[:0], int(n))[:n]
	*scratch = items
	for i := range items {
		u.item(&items[i])
	}
	if u.failed {
		return recollection{}, errors.New("it is damaged")
	}
	return recollection{packed: r.packed, items: items, value: u.text}, nil
}

func (u *unpacker) item(i *Item) {
	i.Path, i.Mode = u.string(), fs.FileMode(u.uint())
	i.st.Dev, i.st.Ino = uint64(u.int()), uint64(u.int())
	i.st.Size, i.st.Mtime, i.st.Ctime = u.int(), u.int(), u.int()
	if i.Sum = [32]byte{}; !i.Mode.IsDir() {
		i.Sum = u.sum()
	}
}
