package memo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/pack"
)

// The file of a Memo: a heading that names the Memo and the build of sx, each entry as a
// text, and the HMAC-SHA256 of all that. Package pack defines the form of texts and
// numbers.
const (
	memoryPurpose = "sx memory 2"
	memoryLimit   = 1 << 30
)

// Home says where memos are kept between runs.
type Home struct {
	Dir      string       // the folder of their files
	Make     func() error // makes Dir
	Tmp      string       // a folder for temporary files, on the same filesystem
	ReadOnly bool         // nothing can be saved
	Build    string       // of sx; empty keeps nothing
	Key      disk.Key     // authenticates the files
	Now      func() time.Time
	Log      *zap.Logger
}

// Attach reads what Save wrote under the same name by the same build of sx. A file that
// is damaged, of another build or not this user's is ignored, with a word in the log:
// another build may have understood something else. Attach returns at once; other methods
// wait until the file is read.
func (m *Memo) Attach(home Home, name string) {
	m.now, m.log = home.Now, home.Log
	if home.Build == "" {
		return
	}
	m.home, m.heading = &home, fmt.Sprintf("%s %s %s\n", memoryPurpose, name, home.Build)
	m.file = filepath.Join(home.Dir, name)
	m.mu.Lock()
	go func() {
		defer m.mu.Unlock()
		m.readFile()
	}()
}

// readFile needs the lock.
func (m *Memo) readFile() {
	entries, err := m.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Debug("memory is not used", zap.String("path", m.file), zap.Error(err))
	}
	if err == nil {
		maps.Copy(entries, m.entries)
		m.entries = entries
	}
}

// Save writes the file if anything has changed since Attach; of two processes the last
// wins. Entries of paths that do not exist any more are left out. A read-only Home is not
// written to.
func (m *Memo) Save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty || m.home == nil || m.home.ReadOnly {
		return nil
	}
	if err := m.home.Make(); err != nil {
		return fmt.Errorf("saving what was learnt: %w", err)
	}
	if err := disk.WriteFile(m.file, m.format(), 0o600, m.home.Tmp); err != nil {
		return fmt.Errorf("saving what was learnt: %w", err)
	}
	m.dirty = false
	return nil
}

// format needs the lock.
func (m *Memo) format() []byte {
	size := len(m.heading) + sha256.Size
	for _, r := range m.entries {
		size += len(r.packed) + binary.MaxVarintLen32
	}
	buf := append(make(pack.Packer, 0, size), m.heading...)
	for _, path := range slices.Sorted(maps.Keys(m.entries)) {
		if _, _, err := lstat(m.path(path, "")); err == nil {
			buf.Text(m.entries[path].packed)
		}
	}
	return append(buf, m.home.Key.MAC(memoryPurpose, buf)...)
}

// read returns packed entries.
func (m *Memo) read() (map[string]*entry, error) {
	text, err := m.readChecked()
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(text, m.heading)
	if !ok {
		return nil, errors.New("it is of another build of sx")
	}
	n := 0
	u := pack.Unpacker{Rest: rest}
	for ; u.Rest != ""; n++ {
		u.Text()
	}
	if u.Failed {
		return nil, errors.New("it is damaged")
	}
	entries, all := make(map[string]*entry, n), make([]entry, n)
	u.Rest = rest
	for i := range all {
		all[i].packed = u.Text()
		path := (&pack.Unpacker{Rest: all[i].packed}).Text()
		if path == "" {
			return nil, errors.New("it is damaged")
		}
		entries[path] = &all[i]
	}
	return entries, nil
}

// readChecked returns the file without its MAC, in one piece: all values are parts of it.
func (m *Memo) readChecked() (string, error) {
	f, err := disk.OpenRegular(unix.AT_FDCWD, m.file, m.file)
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
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return "", err
	}
	if !hmac.Equal(data[at:], m.home.Key.MAC(memoryPurpose, data[:at])) {
		return "", errors.New("it is damaged, or not written by this user")
	}
	return unsafe.String(unsafe.SliceData(data), at), nil
}

// newEntry returns a packed entry: its path, its items, and the value at the end.
func newEntry(path string, items []Item, value string) *entry {
	scratch := packers.Get().(*pack.Packer)
	defer packers.Put(scratch)
	p := (*scratch)[:0]
	p.Text(path)
	p.Uint(uint64(len(items)))
	for _, i := range items {
		p.Text(i.Path)
		p.Uint(uint64(i.Mode))
		for _, n := range [...]int64{int64(i.St.Dev), int64(i.St.Ino), i.St.Size, i.St.Mtime, i.St.Ctime} {
			p.Int(n)
		}
		if !i.Mode.IsDir() {
			p.Sum(i.Sum)
		}
	}
	p = append(p, value...)
	*scratch = p
	return &entry{packed: string(p)}
}

// packers spare each entry a buffer.
var packers = sync.Pool{New: func() any { return new(pack.Packer) }}

// unpack returns a copy of r with all fields. Its items are in scratch, which grows if
// needed.
func (r *entry) unpack(scratch *[]Item) (entry, error) {
	u := pack.Unpacker{Rest: r.packed}
	u.Text()
	n := u.Uint()
	if n > maxItems {
		return entry{}, errors.New("it is damaged")
	}
	items := slices.Grow((*scratch)[:0], int(n))[:n]
	*scratch = items
	for i := range items {
		unpackItem(&u, &items[i])
	}
	if u.Failed {
		return entry{}, errors.New("it is damaged")
	}
	return entry{packed: r.packed, items: items, value: u.Rest}, nil
}

func unpackItem(u *pack.Unpacker, i *Item) {
	i.Path, i.Mode = u.Text(), fs.FileMode(u.Uint())
	i.St.Dev, i.St.Ino = uint64(u.Int()), uint64(u.Int())
	i.St.Size, i.St.Mtime, i.St.Ctime = u.Int(), u.Int(), u.Int()
	if i.Sum = [32]byte{}; !i.Mode.IsDir() {
		i.Sum = u.Sum()
	}
}
