package inspect

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Index remembers the paths of all files of images, so that finding one reads no layer. An
// image's paths are remembered with its digest: they hold for as long as the output has it.
type Index struct {
	home  memo.Home
	lists map[string]list // by output
	dirty bool
}

// list is the paths of an image: each with a zero byte before it, and one after the last.
type list struct {
	digest oci.Digest
	paths  []byte
}

// The file of an Index: a heading with the build of sx, for each output its name, digest
// and paths, and the HMAC-SHA256 of all that.
const (
	indexPurpose = "sx files 1"
	indexName    = "files"
	indexLimit   = 1 << 30
)

// LoadIndex reads what Save wrote for the same build of sx. A file that is damaged or of
// someone else is as good as none: the error is about reading it, and the Index is empty.
func LoadIndex(home memo.Home) (*Index, error) {
	x := &Index{home: home, lists: map[string]list{}}
	data, err := disk.ReadFile(filepath.Join(home.Dir, indexName), indexLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return x, err
	}
	return x, x.parse(data)
}

func (x *Index) heading() string { return indexPurpose + " " + x.home.Build + "\n" }

func (x *Index) parse(data []byte) error {
	end := len(data) - sha256.Size
	if end < 0 || !hmac.Equal(data[end:], x.home.Key.MAC(indexPurpose, data[:end])) {
		return errors.New("the index of files is damaged, or was not written by this user's sx")
	}
	rest, ok := bytes.CutPrefix(data[:end], []byte(x.heading()))
	if !ok {
		return nil // of another build
	}
	lists := map[string]list{}
	for len(rest) > 0 {
		var field [3][]byte
		for i := range field {
			if field[i], rest, ok = cutField(rest); !ok {
				return errors.New("the index of files ends early")
			}
		}
		digest, err := oci.ParseHexDigest(string(field[1]))
		if err != nil {
			return err
		}
		lists[string(field[0])] = list{digest, field[2]}
	}
	x.lists = lists
	return nil
}

func cutField(data []byte) (field, rest []byte, ok bool) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > uint64(len(data)-size) {
		return nil, nil, false
	}
	data = data[size:]
	return data[:n], data[n:], true
}

// Has reports whether the paths of an output's image are known.
func (x *Index) Has(output string, digest oci.Digest) bool { return x.lists[output].digest == digest }

// Paths returns the paths of an image's files: everything that is not a folder.
func Paths(ctx context.Context, img Image) ([]string, error) {
	t, err := Read(ctx, img)
	if err != nil {
		return nil, err
	}
	var paths []string
	err = t.Walk("/", func(f File) error {
		if f.Type != "folder" {
			paths = append(paths, f.Path)
		}
		return nil
	})
	return paths, err
}

// Put remembers the paths of an output's image in the place of those that were known.
func (x *Index) Put(output string, digest oci.Digest, paths []string) {
	x.lists[output] = list{digest, []byte("\x00" + strings.Join(paths, "\x00") + "\x00")}
	x.dirty = true
}

// Drop forgets an output.
func (x *Index) Drop(output string) {
	if _, known := x.lists[output]; known {
		delete(x.lists, output)
		x.dirty = true
	}
}

// Keep forgets all outputs but the named ones.
func (x *Index) Keep(outputs []string) {
	for name := range x.lists {
		if !slices.Contains(outputs, name) {
			x.Drop(name)
		}
	}
}

// Save writes the index, if it has changed and may be written: a temporary file that is
// synced and renamed. Of two processes the last wins.
func (x *Index) Save() error {
	if !x.dirty || x.home.ReadOnly || x.home.Build == "" {
		return nil
	}
	data := []byte(x.heading())
	for _, name := range slices.Sorted(maps.Keys(x.lists)) {
		l := x.lists[name]
		for _, field := range [][]byte{[]byte(name), []byte(l.digest.Hex()), l.paths} {
			data = append(binary.AppendUvarint(data, uint64(len(field))), field...)
		}
	}
	data = append(data, x.home.Key.MAC(indexPurpose, data)...)
	if len(data) > indexLimit {
		return fmt.Errorf("the index of files would have %d bytes, above the limit of %d", len(data), indexLimit)
	}
	if err := x.home.Make(); err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(x.home.Dir, indexName), data, 0o600, x.home.Tmp)
}

// Owned is a file and the output whose image has it.
type Owned struct {
	Output string `json:"ref"`
	Path   string `json:"path"`
}

// Find calls each for all files that a query names, by output and path: "/usr/bin/curl" is
// that path, as "usr/bin/curl" is; "curl" is every file of that name; and "*.so" and
// "/usr/lib/*.so" are patterns of [path.Match] over the same.
func (x *Index) Find(query string, each func(Owned)) error {
	if _, err := path.Match(query, ""); err != nil {
		return fmt.Errorf("%q: %w", query, err)
	}
	match := x.matcher(query)
	for _, output := range slices.Sorted(maps.Keys(x.lists)) {
		match(x.lists[output].paths, func(p string) { each(Owned{output, p}) })
	}
	return nil
}

// Next returns what may follow in a path of an output's image that was begun, sorted: files,
// and folders with a slash at the end. A path may begin without its first slash.
func (x *Index) Next(output, begun string) (next []string) {
	lead := "/"
	if begun == "" || begun[0] == '/' {
		lead, begun = "", "/"+strings.TrimPrefix(begun, "/")
	}
	seen := map[string]bool{}
	for rest := x.lists[output].paths; ; {
		i := bytes.Index(rest, []byte("\x00"+lead+begun))
		if i < 0 {
			break
		}
		rest = rest[i+1+len(lead):]
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			break
		}
		name := string(rest[:end])
		if below := strings.IndexByte(name[len(begun):], '/'); below >= 0 {
			name = name[:len(begun)+below+1]
		}
		if rest = rest[end:]; !seen[name] {
			seen[name] = true
			next = append(next, name)
		}
	}
	slices.Sort(next)
	return next
}

// matcher returns a function that finds what a query names in a list.
func (x *Index) matcher(query string) func(paths []byte, each func(string)) {
	whole := strings.Contains(query, "/")
	if whole {
		query = "/" + strings.TrimLeft(query, "/")
	}
	if !strings.ContainsAny(query, `*?[\`) {
		before := "/"
		if whole {
			before = "\x00"
		}
		wanted := []byte(before + query + "\x00")
		return func(paths []byte, each func(string)) { findExact(paths, wanted, each) }
	}
	return func(paths []byte, each func(string)) {
		for p := range bytes.SplitSeq(bytes.Trim(paths, "\x00"), []byte{0}) {
			name := string(p)
			if !whole {
				name = path.Base(name)
			}
			if ok, _ := path.Match(query, name); ok {
				each(string(p))
			}
		}
	}
}

// findExact calls each for the paths that end with wanted, which holds the zero byte after
// them.
func findExact(paths, wanted []byte, each func(string)) {
	for at := 0; ; {
		i := bytes.Index(paths[at:], wanted)
		if i < 0 {
			return
		}
		end := at + i + len(wanted) - 1
		begin := bytes.LastIndexByte(paths[:end], 0) + 1
		each(string(paths[begin:end]))
		at = end
	}
}
