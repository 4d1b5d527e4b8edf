package cache

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

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Waste is what a store holds and its tree has no more use for. Paths are
// absolute.
type Waste struct {
	Outputs []string // layouts under out/ that sx or make left, of outputs that are not wanted
	Blobs   []string // shared blobs that no other layout and no image has, and unfinished ones
	Notes   []string // records, proofs, inputs and logs of such outputs; inputs that no record names
	Kept    []Kept   // what else lies in out/ and is no output
}

// Kept is something that sx does not touch, and why.
type Kept struct{ Path, Why string }

// FindWaste looks for what can go if only the wanted outputs are kept. Of those
// everything is kept, every proof too: it is the only evidence that a digest was
// once built here, and takes a night to make again. Of images of other registries
// all blobs are kept that these digests lead to.
func (s *Store) FindWaste(wanted func(output string) bool, images ...oci.Digest) (Waste, error) {
	f := finder{Store: s, wanted: wanted, refs: map[string]bool{}}
	f.pulled(images)
	for _, find := range []func() error{f.staged, f.outputs, f.blobs, f.notes, f.inputs} {
		if err := find(); err != nil {
			return Waste{}, fmt.Errorf("looking for what is not needed: %w", err)
		}
	}
	return f.Waste, nil
}

type finder struct {
	*Store
	Waste
	wanted func(output string) bool
	refs   map[string]bool // names of the blobs of layouts that stay
}

// staged notes the blobs of layouts that are being written.
func (f *finder) staged() error {
	tmp, err := disk.List(f.Dir("tmp"))
	for _, e := range tmp {
		if err := f.refer(f.Dir("tmp", e.Name(), "layout")); err != nil {
			return err
		}
	}
	return err
}

func (f *finder) outputs() error {
	entries, err := disk.List(filepath.Join(f.tree, "out"))
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(f.tree, "out", e.Name())
		if !f.wanted(name) {
			why := f.foreign(e)
			if why == "" {
				f.Outputs = append(f.Outputs, path)
				continue
			}
			f.Kept = append(f.Kept, Kept{path, why})
		}
		if err := f.refer(path); err != nil {
			return err
		}
	}
	return err
}

// foreign says why what lies at out/<output> is none of sx's or make's layouts, ""
// where it is: an image of that name, or one that a record tells of.
func (f *finder) foreign(e fs.DirEntry) string {
	output := e.Name()
	switch {
	case !e.IsDir():
		return "it is no folder"
	case checkOutput(output) != nil:
		return "its name is not an output's"
	}
	l, err := f.Layout(output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is no image layout"
	case err != nil:
		if _, err := f.Record(output); err == nil {
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

// refer notes the blobs of the layout at path, if there is one.
func (f *finder) refer(path string) error {
	folder, err := disk.OpenDir(path)
	if err != nil {
		return f.passable(path, err)
	}
	defer folder.Close()
	blobs, err := folder.Sub("blobs", "sha256")
	if err != nil {
		return f.passable(path, err)
	}
	defer blobs.Close()
	for {
		entries, err := blobs.F.ReadDir(1024)
		for _, e := range entries {
			f.refs[e.Name()] = true
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// passable lets pass what certainly is no layout. One that cannot be read may have
// any blob: then nothing can be told.
func (f *finder) passable(path string, err error) error {
	if info, serr := os.Lstat(path); serr == nil && info.IsDir() && errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func (f *finder) blobs() error {
	entries, err := disk.List(f.Dir("blobs", "sha256"))
	for _, e := range entries {
		if _, bad := oci.ParseHexDigest(e.Name()); bad == nil && e.Type().IsRegular() && !f.refs[e.Name()] {
			f.Blobs = append(f.Blobs, f.Dir("blobs", "sha256", e.Name()))
		}
	}
	partial, perr := disk.List(f.Dir("blobs", "partial"))
	for _, e := range partial {
		f.Blobs = append(f.Blobs, f.Dir("blobs", "partial", e.Name()))
	}
	return errors.Join(err, perr)
}

// notes finds what there is about outputs that are not wanted.
func (f *finder) notes() error {
	for _, folder := range []string{"records", "proofs", "logs", "locks"} {
		entries, err := disk.List(f.Dir(folder))
		if err != nil {
			return err
		}
		for _, e := range entries {
			output := e.Name()
			if folder == "records" {
				output = strings.TrimSuffix(output, ".json")
			}
			if checkOutput(output) == nil && !f.wanted(output) {
				f.Notes = append(f.Notes, f.Dir(folder, e.Name()))
			}
		}
	}
	return nil
}

// inputs finds those of which no record or proof that stays has the key.
func (f *finder) inputs() error {
	keys := map[string]bool{}
	records, err := filepath.Glob(f.Dir("records", "*.json"))
	proofs, perr := filepath.Glob(f.Dir("proofs", "*", "*.json"))
	if err := errors.Join(err, perr); err != nil {
		return err
	}
	for _, path := range slices.Concat(records, proofs) {
		output := strings.TrimSuffix(filepath.Base(path), ".json")
		if folder := filepath.Base(filepath.Dir(path)); folder != "records" {
			output = folder
		}
		if rec, err := f.readRecord(path, output); err == nil && f.wanted(output) {
			keys[rec.Key.String()] = true
		}
	}
	entries, err := disk.List(f.Dir("inputs"))
	for _, e := range entries {
		if _, bad := ParseKey(e.Name()); bad == nil && !keys[e.Name()] {
			f.Notes = append(f.Notes, f.Dir("inputs", e.Name()))
		}
	}
	return err
}

// SetAside takes waste out of sight: into a folder that belongs to this process,
// and that the next one removes should this one die. The caller is Alone. Removing
// it, which may take long, is left to empty, and frees the space.
func (s *Store) SetAside(w Waste) (empty func() error, err error) {
	folder, lock, err := disk.ClaimDir(s.Dir("tmp"), "waste")
	if err != nil {
		return nil, fmt.Errorf("setting aside what is not needed: %w", err)
	}
	empty = func() error {
		defer lock.Close()
		return s.discard(folder)
	}
	parents := map[string]bool{}
	// Outputs first: a kill in between leaves notes about nothing, not layouts
	// that nothing tells of.
	for i, path := range slices.Concat(w.Outputs, w.Blobs, w.Notes) {
		into := filepath.Join(folder, strconv.Itoa(i))
		if err := os.Rename(path, into); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return empty, fmt.Errorf("setting aside %q: %w", path, err)
		}
		parents[filepath.Dir(path)] = true
	}
	for parent := range parents {
		err = errors.Join(err, disk.SyncDir(parent))
	}
	return empty, err
}
