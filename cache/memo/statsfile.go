package memo

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// The stat cache's file: a heading, a line per inode, the MAC of both.
//
//	sx stats 1
//	<dev> <ino> <size> <mtime ns> <ctime ns> <day of last use> <sha256>
//	mac <hmac-sha256>
const (
	statsHeading = "sx stats 1\n"
	statsPurpose = "sx stats 1"
	statsLimit   = 64 << 20
	statsDays    = 60 // an entry unused for longer is dropped
)

// NewStats returns the stat cache in a file, which is read at the first use.
func NewStats(path string, key disk.Key, now func() time.Time, log *zap.Logger) *Stats {
	s := &Stats{path: path, key: key, now: now, log: log, dirty: map[disk.Inode]news{}, turns: make(chan struct{}, runtime.GOMAXPROCS(0))}
	s.loadDamage()
	return s
}

// table needs the lock. If the file is missing, damaged or not this user's, the cache is
// empty; the latter two are logged.
func (s *Stats) table() map[disk.Inode]statEntry {
	if s.entries != nil {
		return s.entries
	}
	entries, err := s.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("stat cache is not used", zap.Error(err))
	}
	if s.entries = entries; entries == nil {
		s.entries = map[disk.Inode]statEntry{}
	}
	return s.entries
}

// Save writes what has changed since the last Save, and keeps entries that another
// process saved meanwhile. A read-only place is not written to.
func (s *Stats) Save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirty) == 0 || s.ReadOnly {
		return nil
	}
	err := s.save()
	if disk.IsReadOnly(err) {
		s.log.Debug("stat cache is not saved", zap.Error(err))
		return nil
	}
	return err
}

// save needs the lock.
func (s *Stats) save() error {
	lock, err := disk.LockFile(s.path + ".lock")
	if err != nil {
		return fmt.Errorf("saving stat cache: %w", err)
	}
	defer lock.Close()
	if theirs, err := s.read(); err == nil {
		for id, what := range s.dirty {
			e, ok := s.entries[id]
			switch was, known := theirs[id]; {
			case what == used && (!known || !was.sameFile(e)):
				// another process saved another hash meanwhile
			case ok:
				theirs[id] = e
			default:
				delete(theirs, id)
			}
		}
		s.entries = theirs
	}
	s.refresh()
	tmp := filepath.Join(filepath.Dir(s.path), "tmp")
	if err := disk.WriteFile(s.path, s.format(), 0o600, tmp); err != nil {
		return fmt.Errorf("saving stat cache: %w", err)
	}
	clear(s.dirty)
	return nil
}

// refresh marks entries as used that the memo of layouts spared looking up, before they
// would be dropped.
func (s *Stats) refresh() {
	due := s.today() - statsDays/2
	if s.InUse == nil || !slices.ContainsFunc(slices.Collect(maps.Values(s.entries)), func(e statEntry) bool { return e.used < due }) {
		return
	}
	s.InUse(func(st disk.Stamp) {
		if e, ok := s.entries[st.Inode]; ok && e.isOf(st) {
			e.used = s.today()
			s.entries[st.Inode] = e
		}
	})
}

func (s *Stats) format() []byte {
	const usual = 140 // bytes of a line
	buf := append(make([]byte, 0, (len(s.entries)+2)*usual), statsHeading...)
	oldest := s.today() - statsDays
	for _, id := range slices.SortedFunc(maps.Keys(s.entries), compareInodes) {
		e := s.entries[id]
		if e.used < oldest {
			continue
		}
		for _, n := range [...]int64{int64(id.Dev), int64(id.Ino), e.size, e.mtime, e.ctime, e.used} {
			buf = append(strconv.AppendInt(buf, n, 10), ' ')
		}
		buf = append(hex.AppendEncode(buf, e.sum[:]), '\n')
	}
	return fmt.Appendf(buf, "mac %x\n", s.key.MAC(statsPurpose, buf))
}

func (s *Stats) read() (map[disk.Inode]statEntry, error) {
	data, err := disk.ReadFile(s.path, statsLimit)
	if err != nil {
		return nil, err
	}
	return parseStats(data, s.key)
}

func parseStats(data []byte, key disk.Key) (map[disk.Inode]statEntry, error) {
	at := bytes.LastIndex(data, []byte("\nmac ")) + 1
	body, tail := data[:at], strings.TrimSuffix(string(data[at:]), "\n")
	mac, ok := strings.CutPrefix(tail, "mac ")
	if !ok || !key.Verify(statsPurpose, body, mac) {
		return nil, errors.New("reading stat cache: damaged, or not written by this user")
	}
	rest, ok := bytes.CutPrefix(body, []byte(statsHeading))
	if !ok {
		return nil, errors.New("reading stat cache: unknown version")
	}
	entries := map[disk.Inode]statEntry{}
	for lines := bufio.NewScanner(bytes.NewReader(rest)); lines.Scan(); {
		id, e, err := parseEntry(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("reading stat cache: line %q: %w", lines.Text(), err)
		}
		entries[id] = e
	}
	return entries, nil
}

func parseEntry(line string) (id disk.Inode, e statEntry, err error) {
	fields := strings.Split(line, " ")
	if len(fields) != 7 {
		return id, e, fmt.Errorf("%d fields, want 7", len(fields))
	}
	var numbers [6]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return id, e, err
		}
	}
	id = disk.Inode{Dev: uint64(numbers[0]), Ino: uint64(numbers[1])}
	e.size, e.mtime, e.ctime, e.used = numbers[2], numbers[3], numbers[4], numbers[5]
	e.sum, err = oci.ParseSum(fields[6])
	return id, e, err
}

// sameFile reports whether both entries say the same of an inode, whenever they were used.
func (e statEntry) sameFile(o statEntry) bool {
	o.used = e.used
	return e == o
}

func compareInodes(a, b disk.Inode) int {
	return cmp.Or(cmp.Compare(a.Dev, b.Dev), cmp.Compare(a.Ino, b.Ino))
}
