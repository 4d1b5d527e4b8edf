package imagediff

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// A join goes through the sorted entries of two layers. What it finds waits in a temporary file until the contents were
// compared, because the second reading of the layers goes in the order of their tars.
type join struct {
	*layerPair
	side      [2]*side
	looks     []*look
	paths     int     // bytes of the paths of looks
	order     *sorter // the positions of entries that both have, by that in the first
	reordered bool    // order is wanted: the layers' paths come in different orders
	found     *os.File
	out       *bufio.Writer
}

// A side gives the entries of one layer by name, undecoded: most are the same in both
// layers. Path and value are valid until the next advance.
type side struct {
	m     *merger
	done  bool
	path  []byte
	seq   int64
	value []byte
}

// advance reads the next entry.
func (s *side) advance() error {
	k, value, err := s.m.next()
	if err == io.EOF {
		s.done, s.path, s.value = true, nil, nil
		return nil
	}
	if err != nil {
		return err
	}
	s.path, s.seq = cutSortKey(k)
	s.value = value
	return nil
}

func (s *side) entry() (entry, error) { return decodeEntry(s.seq, s.value) }

func newJoin(l *layerPair) (*join, error) {
	j := &join{layerPair: l, order: newSorter(l.o.TempDir), reordered: l.read[0].order != l.read[1].order}
	for i, w := range l.read {
		m, err := w.entries.sorted()
		if err != nil {
			return nil, err
		}
		j.side[i] = &side{m: m}
		if err := j.side[i].advance(); err != nil {
			return nil, err
		}
	}
	f, err := TempFile(l.o.TempDir)
	if err != nil {
		return nil, err
	}
	j.found, j.out = f, bufio.NewWriterSize(f, 64<<10)
	return j, nil
}

func (j *join) close() {
	j.order.close()
	j.found.Close()
}

// run compares entry by entry. The n-th entry of a path is compared with the n-th.
func (j *join) run() error {
	a, b := j.side[0], j.side[1]
	for n := 0; !a.done || !b.done; n++ {
		if n%1024 == 0 && j.ctx.Err() != nil {
			return context.Cause(j.ctx)
		}
		order := bytes.Compare(a.path, b.path)
		var err error
		switch {
		case b.done || !a.done && order < 0:
			err = j.only(a, func(about string) Difference { return Difference{What: Only, A: about} })
		case a.done || order > 0:
			err = j.only(b, func(about string) Difference { return Difference{What: Only, B: about} })
		default:
			err = cmp.Or(j.both(a, b), a.advance(), b.advance())
		}
		if err != nil {
			return err
		}
	}
	return j.out.Flush()
}

// only keeps an entry that one side alone has, and goes on.
func (j *join) only(s *side, difference func(about string) Difference) error {
	e, err := s.entry()
	if err != nil {
		return err
	}
	if err := j.keep(difference(e.about()), string(s.path), -1); err != nil {
		return err
	}
	return s.advance()
}

// keep remembers a difference, and the look that will say more (-1: none).
func (j *join) keep(d Difference, path string, look int) error {
	d.setPath(path)
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	head := binary.AppendVarint(binary.AppendUvarint(nil, uint64(len(data))), int64(look))
	j.out.Write(head)
	_, err = j.out.Write(data)
	return err
}

func (d *Difference) setPath(path string) {
	if d.Path = path; path == "" {
		d.Path = "/"
	}
	if !utf8.ValidString(path) {
		d.Path, d.Raw = strings.ToValidUTF8(path, "\uFFFD"), []byte(path)
	}
}

// both compares two entries of a path.
func (j *join) both(a, b *side) error {
	if j.reordered {
		position := binary.BigEndian.AppendUint64(nil, uint64(a.seq))
		place := binary.AppendUvarint(nil, uint64(b.seq))
		if err := j.order.add(position, append(place, a.path[:min(len(a.path), 512)]...)); err != nil {
			return err
		}
	}
	if bytes.Equal(a.value, b.value) {
		return nil
	}
	x, err := a.entry()
	if err != nil {
		return err
	}
	y, err := b.entry()
	if err != nil {
		return err
	}
	path := string(a.path)
	for _, d := range x.differences(y) {
		at := -1
		if d.What == Content && len(j.looks) < maxLooks && j.paths+len(path) <= maxPaths {
			at = len(j.looks)
			j.paths += len(path)
			j.looks = append(j.looks, &look{
				path: path, seqs: [2]int64{x.seq, y.seq}, sums: [2][sha256.Size]byte{x.sum, y.sum}, at: [2]int64{-1, -1},
			})
		}
		if err := j.keep(d, path, at); err != nil {
			return err
		}
	}
	return nil
}

// differences are those of two entries of the same path, without a path.
func (e entry) differences(o entry) (all []Difference) {
	add := func(what What, differ bool, word func(entry) string, cause string) {
		if differ {
			all = append(all, Difference{What: what, A: word(e), B: word(o), Cause: cause})
		}
	}
	const writer = "the program that wrote the tar"
	add(Type, e.typ != o.typ, entry.typeWord, "")
	add(Name, strings.TrimSuffix(e.name, "/") != strings.TrimSuffix(o.name, "/"), func(e entry) string { return e.name }, writer)
	add(Mode, e.mode != o.mode, entry.modeWord, umask(e.mode, o.mode))
	add(Owner, e.uid != o.uid || e.gid != o.gid || e.uname != o.uname || e.gname != o.gname, entry.ownerWord, builder(e, o))
	add(MTime, !sameTimes(e, o), entry.timesWord, causeTimestamp)
	add(Content, e.regular() && o.regular() && (e.sum != o.sum || e.size != o.size), entry.contentWord, "")
	if e.link != o.link {
		add(Link, true, func(e entry) string { return e.link }, causeOf(e.link, o.link))
	}
	add(Device, e.major != o.major || e.minor != o.minor, entry.deviceWord, "")
	all = append(all, differentRecords(e.pax, o.pax)...)
	if len(all) == 0 {
		add(Format, e.format != o.format, func(e entry) string { return e.format.String() }, writer)
	}
	return all
}

func (e entry) contentWord() string { return fmt.Sprintf("%d bytes, sha256:%x", e.size, e.sum) }

func sameTimes(e, o entry) bool {
	for i := range e.times {
		if !e.times[i].Equal(o.times[i]) {
			return false
		}
	}
	return true
}

// builder is the cause if one owner may be root and the other a person, as numbers or by
// name. Others are of the definition's making.
func builder(e, o entry) string {
	for _, ids := range [][2]int64{{e.uid, o.uid}, {e.gid, o.gid}} {
		for _, id := range ids {
			if ids[0] != ids[1] && id != 0 && (id < 1000 || id >= 60_000) {
				return ""
			}
		}
	}
	return causeUser
}

// umask is the cause if only what a umask takes differs.
func umask(a, b int64) string {
	if (a^b)&^0o077 == 0 && (a&^0o077 == a || b&^0o077 == b || (a^b)&^0o022 == 0) {
		return causeUmask
	}
	return ""
}

// xattrRecord begins PAX records that are extended attributes.
const xattrRecord = "SCHILY.xattr."

func differentRecords(a, b map[string]string) (all []Difference) {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		x, inA := a[name]
		y, inB := b[name]
		if x == y && inA == inB {
			continue
		}
		what, short := Format, name
		if attr, ok := strings.CutPrefix(name, xattrRecord); ok {
			what, short = XAttr, attr
		}
		show := func(value string, in bool) string {
			if !in {
				return ""
			}
			return short + "=" + printable(value)
		}
		all = append(all, Difference{What: what, A: show(x, inA), B: show(y, inB)})
	}
	return all
}

// printable is the value of an attribute: text, or hexadecimal digits.
func printable(value string) string {
	if isText([]byte(value)) && utf8.ValidString(value) {
		return value
	}
	return fmt.Sprintf("0x%x", value[:min(len(value), 256)])
}

// tellOrder tells of entries that both layers have in another order.
func (j *join) tellOrder() error {
	m, err := j.order.sorted()
	if err != nil {
		return fmt.Errorf("comparing images: %w", err)
	}
	var moved int64
	var first [2]string
	last, lastPath := int64(-1), ""
	for {
		_, value, err := m.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("comparing images: %w", err)
		}
		seq, n := binary.Uvarint(value)
		path := string(value[n:])
		if int64(seq) < last {
			if moved++; moved == 1 {
				first = [2]string{path + " after " + lastPath, path + " before " + lastPath}
			}
		}
		last, lastPath = int64(seq), path
	}
	if moved == 0 {
		return nil // entries that only one has shift the others
	}
	return j.tell(Difference{What: Order, A: first[0], B: first[1], Entries: moved, Cause: "order of a folder, or parallel jobs"})
}

// replay tells what was kept.
func (j *join) replay() error {
	if _, err := j.found.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(j.found, 64<<10)
	for {
		size, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return nil
		}
		d, look, err2 := readKept(r, size)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("reading a temporary file: %w", err)
		}
		j.fill(&d, look)
		if err := j.tell(d); err != nil {
			return err
		}
	}
}

func readKept(r *bufio.Reader, size uint64) (d Difference, look int64, err error) {
	if look, err = binary.ReadVarint(r); err != nil {
		return d, 0, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return d, 0, err
	}
	return d, look, json.NewDecoder(bytes.NewReader(data)).Decode(&d)
}

// fill adds what a look found.
func (j *join) fill(d *Difference, look int64) {
	switch {
	case d.What != Content:
	case look < 0:
		d.Skipped = "too many files differ"
	default:
		k := j.looks[look]
		d.Content, d.Cause, d.Skipped = k.detail, k.cause, cmp.Or(k.skipped[0], k.skipped[1])
	}
}
