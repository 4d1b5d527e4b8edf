package imagediff

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// An entry is what a layer's tar says of one name, with the hash of its content.
type entry struct {
	seq    int64  // from 0, in the order of the tar
	name   string // as it is written
	typ    byte
	format tar.Format
	mode   int64
	uid    int64
	gid    int64
	uname  string
	gname  string
	link   string
	size   int64
	major  int64
	minor  int64
	times  [3]time.Time      // modification, access, change; the last two may be zero
	pax    map[string]string // records that no other field holds; nil for none
	sum    [sha256.Size]byte // of a regular file's content
}

// key orders entries: names that mean the same path are one.
func key(name string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimLeft(name, "/"), "./"), "/")
}

// ownFields are PAX records that a header's other fields hold.
var ownFields = []string{"path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime"}

func newEntry(seq int64, h *tar.Header) entry {
	e := entry{
		seq: seq, name: h.Name, typ: h.Typeflag, format: h.Format, mode: h.Mode, uid: int64(h.Uid), gid: int64(h.Gid),
		uname: h.Uname, gname: h.Gname, link: h.Linkname, size: h.Size, major: h.Devmajor, minor: h.Devminor,
		times: [3]time.Time{h.ModTime, h.AccessTime, h.ChangeTime},
	}
	for name, value := range h.PAXRecords {
		if !slices.Contains(ownFields, name) {
			if e.pax == nil {
				e.pax = map[string]string{}
			}
			e.pax[name] = value
		}
	}
	return e
}

func (e entry) regular() bool { return e.typ == tar.TypeReg }

// sortKey orders by path, and the entries of one path as they come.
func (e entry) sortKey(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(append(b, key(e.name)...), 0), uint64(e.seq))
}

// cutSortKey is sortKey's inverse.
func cutSortKey(k []byte) (path []byte, seq int64) {
	n := len(k) - 9
	return k[:n], int64(binary.BigEndian.Uint64(k[n+1:]))
}

// append encodes all of e but its place, which the sort key has, for a sorter. Equal
// entries have equal codes.
func (e entry) append(b []byte) []byte {
	for _, n := range [...]int64{int64(e.typ), int64(e.format), e.mode, e.uid, e.gid, e.size, e.major, e.minor} {
		b = binary.AppendVarint(b, n)
	}
	for _, t := range e.times {
		b = binary.AppendVarint(binary.AppendVarint(b, t.Unix()), int64(t.Nanosecond()))
	}
	for _, s := range [...]string{e.name, e.uname, e.gname, e.link} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(e.pax)))
	for _, name := range slices.Sorted(maps.Keys(e.pax)) {
		b = appendString(appendString(b, name), e.pax[name])
	}
	return append(b, e.sum[:]...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeEntry is append's inverse.
func decodeEntry(seq int64, b []byte) (e entry, err error) {
	e.seq = seq
	d := decoder{b: b}
	var typ, format int64
	for _, n := range []*int64{&typ, &format, &e.mode, &e.uid, &e.gid, &e.size, &e.major, &e.minor} {
		*n = d.number()
	}
	e.typ, e.format = byte(typ), tar.Format(format)
	for i := range e.times {
		e.times[i] = time.Unix(d.number(), d.number())
	}
	for _, s := range []*string{&e.name, &e.uname, &e.gname, &e.link} {
		*s = d.string()
	}
	if n := d.number64(); n > 0 {
		e.pax = map[string]string{}
		for range n {
			name := d.string()
			e.pax[name] = d.string()
		}
	}
	if d.err == nil && copy(e.sum[:], d.b) != len(e.sum) {
		d.err = errShort
	}
	return e, d.err
}

var errShort = errors.New("imagediff: internal error: a record ends early")

// decoder reads what append wrote. After an error it returns zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) number() int64 {
	n, size := binary.Varint(d.b)
	return d.skip(n, size)
}

func (d *decoder) number64() int64 {
	n, size := binary.Uvarint(d.b)
	if n > uint64(len(d.b)) { // lengths and counts only
		size = 0
	}
	return d.skip(int64(n), size)
}

func (d *decoder) skip(n int64, size int) int64 {
	if size <= 0 {
		d.b, d.err = nil, errShort
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) string() string {
	n := d.number64()
	if n > int64(len(d.b)) {
		d.b, d.err = nil, errShort
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// typeWords are for people.
var typeWords = map[byte]string{
	tar.TypeReg: "file", tar.TypeLink: "hard link", tar.TypeSymlink: "link", tar.TypeChar: "character device",
	tar.TypeBlock: "block device", tar.TypeDir: "folder", tar.TypeFifo: "fifo",
}

func (e entry) typeWord() string {
	if w, ok := typeWords[e.typ]; ok {
		return w
	}
	return fmt.Sprintf("entry of type %q", e.typ)
}

// modeWord is "0755 rwxr-xr-x".
func (e entry) modeWord() string {
	return fmt.Sprintf("%04o %s", e.mode, fs.FileMode(e.mode & 0o777).String()[1:])
}

func (e entry) ownerWord() string {
	s := fmt.Sprintf("%d:%d", e.uid, e.gid)
	if e.uname != "" || e.gname != "" {
		s += fmt.Sprintf(" (%s:%s)", e.uname, e.gname)
	}
	return s
}

func (e entry) deviceWord() string { return fmt.Sprintf("%d:%d", e.major, e.minor) }

// timesWord is the modification time, and the others if they are there.
func (e entry) timesWord() string {
	words := []string{e.times[0].UTC().Format(time.RFC3339Nano)}
	for i, name := range []string{"accessed", "changed"} {
		if t := e.times[i+1]; !t.IsZero() && t.Unix() != (time.Time{}).Unix() {
			words = append(words, name+" "+t.UTC().Format(time.RFC3339Nano))
		}
	}
	return strings.Join(words, ", ")
}

// about is an entry in a few words, for one that only one image has.
func (e entry) about() string {
	switch {
	case e.regular():
		return fmt.Sprintf("file of %d bytes, %s", e.size, e.modeWord())
	case e.link != "":
		return e.typeWord() + " to " + e.link
	}
	return e.typeWord()
}
