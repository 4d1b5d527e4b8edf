package graph

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of one definition's folder: upstream's largest holds less than a
// hundredth of them.
const (
	maxSnapshot = 256 << 20 // bytes
	maxEntries  = 100_000
)

// File is one entry of a definition's folder as the build sees it.
type File struct {
	Path string // relative to the folder, slashes
	// Mode is normalised, so that the umask of a checkout does not reach the image:
	// files 0644, or 0755 if the owner may execute them; folders 0755; links 0777.
	Mode    fs.FileMode
	Link    string // target of a link, as written
	Data    []byte // of a file
	ModTime time.Time
}

// Snapshot reads the folder of d, which is the build's context: all entries including
// folders, sorted by path. A fetch at the top is left out, because the fetched sources
// take its place. Containerfile and package.toml have the bytes that Load parsed, unless
// it recalled the definition: then the caller must know what they were.
//
// A symbolic link is an entry of its own and is not followed. An entry that is not a
// file, folder or link, a name that is not UTF-8, and a folder that exceeds its limits
// are errors; Load finds all of them too. The tree must be an [fs.ReadLinkFS] to hold
// links.
func Snapshot(tree fs.FS, d *Definition) ([]File, error) {
	s := &snapshot{tree: tree, dir: d.Dir, def: d}
	if err := s.walk(""); err != nil {
		return nil, fmt.Errorf("reading the folder of %q: %w", d.Dir, err)
	}
	slices.SortFunc(s.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return s.files, nil
}

// checkFolder finds what Snapshot would refuse, without reading files. Entries are those
// of folder, which is the definition's.
func checkFolder(folder fs.FS, d *Definition, entries []fs.DirEntry) []*FileError {
	s := &snapshot{tree: folder, def: d}
	return s.check("", entries)
}

// check goes on after an error, unless a limit is exceeded.
func (s *snapshot) check(dir string, entries []fs.DirEntry) (errs []*FileError) {
	for _, e := range entries {
		path := join(dir, e.Name())
		if path == "fetch" {
			continue // see Snapshot
		}
		err := s.checkEntry(path, e)
		if err == nil && e.IsDir() {
			var below []fs.DirEntry
			if below, err = fs.ReadDir(s.tree, join(s.dir, path)); err == nil {
				errs = append(errs, s.check(path, below)...)
			}
		}
		if err != nil {
			errs = append(errs, &FileError{File: join(s.def.Dir, path), Err: err})
		}
		if s.full || len(errs) > maxErrors {
			return errs
		}
	}
	return errs
}

func (s *snapshot) checkEntry(path string, e fs.DirEntry) error {
	if err := checkName(e.Name()); err != nil {
		return err
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	own := path == containerfileName || path == manifestName // these were read, and so checked, already
	if own && (!info.Mode().IsRegular() || info.Size() > maxFileSize[path]) {
		return nil
	}
	if err := s.fits(info); err != nil || own {
		return err
	}
	switch e.Type() {
	case fs.ModeDir:
		return nil
	case fs.ModeSymlink:
		_, err := s.link(path)
		return err
	case 0:
		f, err := s.tree.Open(join(s.dir, path))
		if err != nil {
			return err
		}
		return f.Close()
	}
	return fmt.Errorf("neither a file, a folder nor a link (%v)", e.Type())
}

// checkName refuses names that no build context and no fs.FS can hold.
func checkName(name string) error {
	if !utf8.ValidString(name) {
		return errors.New("its name is not UTF-8")
	}
	return nil
}

type snapshot struct {
	tree    fs.FS
	dir     string // the definition's folder in tree, "" if tree is that folder
	def     *Definition
	files   []File
	entries int
	bytes   int64
	full    bool // a limit is reached
}

// fits counts an entry and checks the limits.
func (s *snapshot) fits(info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		s.bytes += info.Size()
	}
	s.entries++
	s.full = s.bytes > maxSnapshot || s.entries > maxEntries
	switch {
	case s.bytes > maxSnapshot:
		return fmt.Errorf("with it the definition's folder holds more than %d bytes", maxSnapshot)
	case s.entries > maxEntries:
		return fmt.Errorf("with it the definition's folder holds more than %d files and folders", maxEntries)
	}
	return nil
}

func (s *snapshot) link(path string) (string, error) {
	target, err := fs.ReadLink(s.tree, join(s.dir, path))
	if err == nil && !utf8.ValidString(target) {
		err = errors.New("it is a link to a name that is not UTF-8")
	}
	return target, err
}

// walk reads the folder dir, "" being the definition's.
func (s *snapshot) walk(dir string) error {
	entries, err := fs.ReadDir(s.tree, join(s.dir, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := join(dir, e.Name())
		if path == "fetch" {
			continue
		}
		f, err := s.read(path, e)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		s.files = append(s.files, f)
		if !f.Mode.IsDir() {
			continue
		}
		if err := s.walk(path); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshot) read(path string, e fs.DirEntry) (File, error) {
	if err := checkName(e.Name()); err != nil {
		return File{}, err
	}
	info, err := e.Info()
	if err != nil {
		return File{}, err
	}
	if err := s.fits(info); err != nil {
		return File{}, err
	}
	f := File{Path: path, ModTime: info.ModTime()}
	switch info.Mode().Type() {
	case 0:
		f.Mode = 0o644
		if info.Mode()&0o100 != 0 {
			f.Mode = 0o755
		}
		f.Data, err = s.data(path, info.Size())
	case fs.ModeDir:
		f.Mode = fs.ModeDir | 0o755
	case fs.ModeSymlink:
		f.Mode = fs.ModeSymlink | 0o777
		f.Link, err = s.link(path)
	default:
		err = fmt.Errorf("neither a file, a folder nor a link (%v)", info.Mode().Type())
	}
	return f, err
}

// data reads a file that had size bytes a moment ago.
func (s *snapshot) data(path string, size int64) ([]byte, error) {
	switch {
	case path == containerfileName && s.def.Containerfile != nil:
		return s.def.Containerfile, nil
	case path == manifestName && s.def.PackageTOML != nil:
		return s.def.PackageTOML, nil
	}
	f, err := s.tree.Open(join(s.dir, path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, size+1))
	if err == nil && int64(len(data)) != size {
		err = errors.New("it changed while it was read")
	}
	return data, err
}

// join is path.Join for paths that are clean.
func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}
