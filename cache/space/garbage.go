// Package space measures what a store takes on disk and finds what of it can go.
//
// [Tally] adds up disk usage, each file once. [Find] lists what the tree does not need any
// more, and [Quarantine] takes it away. Nothing here decides which outputs are wanted.
package space

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Garbage is what a store holds and its tree does not need. Paths are absolute.
type Garbage struct {
	Outputs  []string // layouts under out/ that sx or make left, of outputs that are not wanted
	Blobs    []string // shared blobs that no other layout and no image has, and unfinished ones
	Metadata []string // records, proofs, locks, logs and differing results of such outputs; inputs that no record names
	Kept     []Kept   // what else is in out/ and is not an output
}

// Kept is something that sx does not remove, and why.
type Kept struct{ Path, Why string }

// Find lists what can go if only the wanted outputs are kept. Of these everything is kept,
// every proof too: it is the only evidence that a digest was once built here, and takes a
// night to make again. Of images of other registries, given by digest, all blobs are kept.
func Find(store *cache.Store, wanted func(output string) bool, images ...oci.Digest) (Garbage, error) {
	f := finder{store: store, wanted: wanted, needed: map[string]bool{}}
	for _, image := range images {
		for _, d := range store.PulledBlobs(image) {
			f.needed[d.Hex()] = true
		}
	}
	for _, find := range []func() error{f.staged, f.outputs, f.blobs, f.metadata, f.inputs} {
		if err := find(); err != nil {
			return Garbage{}, fmt.Errorf("looking for what is not needed: %w", err)
		}
	}
	return f.Garbage, nil
}

type finder struct {
	Garbage
	store  *cache.Store
	wanted func(output string) bool
	needed map[string]bool // names of blobs that stay
}

// staged marks the blobs of layouts that are being written as needed.
func (f *finder) staged() error {
	tmp, err := disk.List(f.store.Dir("tmp"))
	for _, e := range tmp {
		if err := f.need(f.store.Dir("tmp", e.Name(), "layout")); err != nil {
			return err
		}
	}
	return err
}

func (f *finder) outputs() error {
	entries, err := disk.List(f.store.Out(""))
	for _, e := range entries {
		path := f.store.Out(e.Name())
		if !f.wanted(e.Name()) {
			why := f.foreign(e)
			if why == "" {
				f.Outputs = append(f.Outputs, path)
				continue
			}
			f.Kept = append(f.Kept, Kept{path, why})
		}
		if err := f.need(path); err != nil {
			return err
		}
	}
	return err
}

// foreign returns why an entry of out/ is not a layout that sx or make wrote, "" if it is
// one: its image has the output's name, or there is a record of the output.
func (f *finder) foreign(e fs.DirEntry) string {
	output := e.Name()
	switch {
	case !e.IsDir():
		return "it is not a folder"
	case cache.CheckName(output) != nil:
		return "its name is not an output's"
	}
	l, err := f.store.Read(output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is not an image layout"
	case err != nil:
		if _, err := f.store.Record(output); err == nil {
			return ""
		}
		return "it cannot be read as an image layout"
	}
	rest, ok := strings.CutPrefix(l.Name, "docker.io/stagex/"+output)
	if ok && (rest == "" || rest[0] == ':' || rest[0] == '@') {
		return ""
	}
	return "it is a layout of another image"
}

// need marks the blobs of the layout at path, if there is one, as needed.
func (f *finder) need(path string) error {
	folder, err := disk.OpenDir(path)
	if err != nil {
		return unreadable(path, err)
	}
	defer folder.Close()
	blobs, err := folder.Sub("blobs", "sha256")
	if err != nil {
		return unreadable(path, err)
	}
	defer blobs.Close()
	for {
		entries, err := blobs.F.ReadDir(1024)
		for _, e := range entries {
			f.needed[e.Name()] = true
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// unreadable returns err if path may be a layout that this user cannot read: it may need
// any blob, so none can go. Anything else without blobs is not a layout.
func unreadable(path string, err error) error {
	if info, serr := os.Lstat(path); serr == nil && info.IsDir() && errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func (f *finder) blobs() error {
	entries, err := disk.List(f.store.Dir("blobs", "sha256"))
	for _, e := range entries {
		if _, bad := oci.ParseHexDigest(e.Name()); bad == nil && e.Type().IsRegular() && !f.needed[e.Name()] {
			f.Blobs = append(f.Blobs, f.store.Dir("blobs", "sha256", e.Name()))
		}
	}
	partial, perr := disk.List(f.store.Dir("blobs", "partial"))
	for _, e := range partial {
		f.Blobs = append(f.Blobs, f.store.Dir("blobs", "partial", e.Name()))
	}
	return errors.Join(err, perr)
}

// metadata finds the files about outputs that are not wanted.
func (f *finder) metadata() error {
	for _, folder := range []string{"records", "hub", "proofs", "logs", "locks", cache.DiffersFolder} {
		entries, err := disk.List(f.store.Dir(folder))
		if err != nil {
			return err
		}
		for _, e := range entries {
			output := e.Name()
			if folder == "records" || folder == "hub" {
				output = strings.TrimSuffix(output, ".json")
			}
			if cache.CheckName(output) == nil && !f.wanted(output) {
				f.Metadata = append(f.Metadata, f.store.Dir(folder, e.Name()))
			}
		}
	}
	return nil
}

// inputs finds those whose key is in no record or proof that stays.
func (f *finder) inputs() error {
	keys, err := f.store.Keys(f.wanted)
	if err != nil {
		return err
	}
	entries, err := disk.List(f.store.Dir("inputs"))
	for _, e := range entries {
		if key, bad := cache.ParseKey(e.Name()); bad == nil && !keys[key] {
			f.Metadata = append(f.Metadata, f.store.Dir("inputs", e.Name()))
		}
	}
	return err
}

// Quarantine moves garbage into a folder of this process, which the next process removes if
// this one dies. The caller is in [cache.Store.Alone]. Empty removes the folder, which may
// take long, and frees the space.
func Quarantine(store *cache.Store, g Garbage) (empty func() error, err error) {
	folder, err := store.TempDir("garbage")
	if err != nil {
		return nil, fmt.Errorf("moving what is not needed: %w", err)
	}
	parents := map[string]bool{}
	// Outputs first: a kill in between leaves metadata without a layout, not layouts
	// without metadata.
	for i, path := range slices.Concat(g.Outputs, g.Blobs, g.Metadata) {
		into := filepath.Join(folder.Path, strconv.Itoa(i))
		if err := os.Rename(path, into); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return folder.Close, fmt.Errorf("moving %q: %w", path, err)
		}
		parents[filepath.Dir(path)] = true
	}
	for parent := range parents {
		err = errors.Join(err, disk.SyncDir(parent))
	}
	return folder.Close, err
}
