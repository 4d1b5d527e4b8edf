package memo

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// A disk may change a file without a trace in its size or times. Once a reader has found
// such a file, nothing remembered of it counts, neither a hash nor a layout, in this process
// or a later one: it is read and hashed each time until it is found whole. So .sx/damaged
// holds an empty file for each such inode (all names of a file share one), named by its
// decimal number, and synced before the damage is reported. If another file gets the number
// later, it is hashed once.

// damageFolder returns the folder of the marks.
func (s *Stats) damageFolder() string { return filepath.Join(filepath.Dir(s.path), "damaged") }

// loadDamage reads what this and other processes found. If the folder cannot be read
// there are no marks, which is logged.
func (s *Stats) loadDamage() {
	entries, err := disk.List(s.damageFolder())
	if err != nil {
		s.log.Warn("what was found damaged is not known", zap.Error(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	marks := map[uint64]bool{}
	for _, e := range entries {
		if ino, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			marks[ino] = true
		}
	}
	s.setDamaged(marks)
}

// setDamaged replaces the marks, which are never changed in place. It needs the lock.
func (s *Stats) setDamaged(marks map[uint64]bool) { s.damaged.Store(&marks) }

// Suspect reports whether a file was found damaged, so that nothing remembered of it
// counts.
func (s *Stats) Suspect(id disk.Inode) bool {
	marks := s.damaged.Load()
	return marks != nil && (*marks)[id.Ino]
}

// Damage marks a file as damaged.
func (s *Stats) Damage(id disk.Inode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.table(), id)
	s.dirty[id] = learnt
	if s.Suspect(id) {
		return
	}
	marks := map[uint64]bool{id.Ino: true}
	if old := s.damaged.Load(); old != nil {
		maps.Copy(marks, *old)
	}
	s.setDamaged(marks)
	if s.ReadOnly {
		return
	}
	if err := s.mark(id); err != nil {
		s.log.Warn("damage is not noted for later runs", zap.Error(err))
	}
}

// Distrust is Damage of an open file.
func (s *Stats) Distrust(f *os.File) {
	if st, err := disk.StatFile(f); err == nil {
		s.Damage(st.Inode)
	}
}

// Verified is [oci.Verified] of a file, and marks the file as damaged if its bytes are
// not those that d names.
func (s *Stats) Verified(f *os.File, d oci.Descriptor) io.ReadCloser {
	return &witness{oci.Verified(f, d), f, s}
}

type witness struct {
	io.ReadCloser
	f     *os.File
	stats *Stats
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrClosed) {
		w.stats.Distrust(w.f)
	}
	return n, err
}

func (s *Stats) mark(id disk.Inode) error {
	folder := s.damageFolder()
	if err := disk.EnsurePrivate(folder); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(s.path), "tmp")
	return disk.WriteFile(filepath.Join(folder, strconv.FormatUint(id.Ino, 10)), nil, 0o600, tmp)
}

// Sound notes that a file was hashed and is whole, or is gone.
func (s *Stats) Sound(id disk.Inode) {
	if !s.Suspect(id) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unmark(id)
}

// unmark needs the lock.
func (s *Stats) unmark(id disk.Inode) {
	if !s.Suspect(id) {
		return
	}
	marks := maps.Clone(*s.damaged.Load())
	delete(marks, id.Ino)
	s.setDamaged(marks)
	if s.ReadOnly {
		return
	}
	err := os.Remove(filepath.Join(s.damageFolder(), strconv.FormatUint(id.Ino, 10)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Debug("a mark of damage stays", zap.Error(err))
	}
}

// Unreadable reports whether the disk may have caused err: it is neither about a file
// that changed meanwhile nor caused by ctx.
func Unreadable(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !errors.As(err, new(*ChangedError))
}

// contradicts reports whether sum, nil for a file that cannot be read, differs from the
// remembered hash of a file with the same stamp: the file changed without a trace.
func (s *Stats) contradicts(st disk.Stamp, sum []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.table()[st.Inode]
	return ok && e.isOf(st) && string(e.sum[:]) != string(sum)
}

// correct replaces a remembered hash that sum contradicts, and saves that; nil is of a
// file that cannot be read.
func (s *Stats) correct(st disk.Stamp, sum []byte) {
	s.mu.Lock()
	if len(sum) == len(statEntry{}.sum) {
		s.put(st, [len(statEntry{}.sum)]byte(sum), s.today())
	} else {
		delete(s.table(), st.Inode)
		s.dirty[st.Inode] = learnt
	}
	s.mu.Unlock()
	s.log.Warn("a file changed on the disk without a trace in its times", zap.Uint64("inode", st.Ino))
	if err := s.Save(); err != nil {
		s.log.Warn("damage is not noted for later runs", zap.Error(err))
	}
}
