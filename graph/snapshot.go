package graph

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// maxSnapshot bounds the bytes of one definition's folder; upstream's largest
// holds less than a hundredth of it.
const maxSnapshot = 256 << 20

// File is one entry of a definition's folder as the build sees it.
type File struct {
	Path string // relative to the folder, slashes
	// Mode is normalised, so that what a checkout's umask was does not reach the
	// image: files 0644 or, where the owner may execute, 0755; folders 0755;
	// links 0777.
	Mode    fs.FileMode
	Link    string // where a link leads, as written
	Data    []byte // of a file
	ModTime time.Time
}

// Snapshot reads the folder of d, which is the build's context: folders
// included, sorted by path. A fetch at the top is left out, because the fetched
// sources take its place. Containerfile and package.toml are the bytes that
// Load parsed, unless it recalled them: then the caller must know what they were.
//
// It is an error for a symbolic link to leave the folder, directly, through
// others or by an absolute path, and for anything to be neither file, folder nor
// link. The tree must be an [fs.ReadLinkFS] to hold links.
func Snapshot(tree fs.FS, d *Definition) ([]File, error) {
	s := &snapshot{tree: tree, def: d, links: map[string]string{}, left: maxSnapshot}
	if err := s.walk(""); err != nil {
		return nil, fmt.Errorf("reading the folder of %q: %w", d.Dir, err)
	}
	slices.SortFunc(s.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range s.files {
		if f.Mode&fs.ModeSymlink == 0 {
			continue
		}
		if err := s.checkLink(f.Path); err != nil {
			return nil, fmt.Errorf("reading the folder of %q: link %q to %q: %w", d.Dir, f.Path, f.Link, err)
		}
	}
	return s.files, nil
}

// checkFolder finds what Snapshot would refuse, without reading files: entries is
// what the definition's folder holds.
func checkFolder(tree fs.FS, d *Definition, entries []fs.DirEntry) []*FileError {
	s := &snapshot{tree: tree, def: d, links: map[string]string{}}
	errs := s.list("", entries)
	for path, target := range s.links {
		if err := s.checkLink(path); err != nil {
			errs = append(errs, &FileError{File: join(d.Dir, path), Err: fmt.Errorf("link to %q: %w", target, err)})
		}
	}
	return errs
}

// list notes the links below dir, and tells what can be in no build context.
func (s *snapshot) list(dir string, entries []fs.DirEntry) (errs []*FileError) {
	for _, e := range entries {
		path := join(dir, e.Name())
		switch path {
		case containerfileName, manifestName:
			continue // read, and so checked, already
		case "fetch":
			continue // left out, whatever it is
		}
		var err error
		switch e.Type() {
		case 0:
		case fs.ModeDir:
			var below []fs.DirEntry
			if below, err = fs.ReadDir(s.tree, join(s.def.Dir, path)); err == nil {
				errs = append(errs, s.list(path, below)...)
			}
		case fs.ModeSymlink:
			s.links[path], err = fs.ReadLink(s.tree, join(s.def.Dir, path))
		default:
			err = fmt.Errorf("neither a file, a folder nor a link (%v)", e.Type())
		}
		if err != nil {
			errs = append(errs, &FileError{File: join(s.def.Dir, path), Err: err})
		}
	}
	return errs
}

type snapshot struct {
	tree  fs.FS
	def   *Definition
	files []File
	links map[string]string // path of each link, and where it leads
	left  int64             // bytes that may still be read
}

// walk reads the folder dir, "" being the definition's.
func (s *snapshot) walk(dir string) error {
	entries, err := fs.ReadDir(s.tree, join(s.def.Dir, dir))
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
			return err
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
	info, err := e.Info()
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, ModTime: info.ModTime()}
	switch info.Mode().Type() {
	case 0:
		f.Mode = 0o644
		if info.Mode()&0o100 != 0 {
			f.Mode = 0o755
		}
		f.Data, err = s.data(path)
	case fs.ModeDir:
		f.Mode = fs.ModeDir | 0o755
	case fs.ModeSymlink:
		f.Mode = fs.ModeSymlink | 0o777
		f.Link, err = fs.ReadLink(s.tree, join(s.def.Dir, path))
		s.links[path] = f.Link
	default:
		err = fmt.Errorf("%q is neither a file, a folder nor a link (%v)", path, info.Mode().Type())
	}
	return f, err
}

func (s *snapshot) data(path string) ([]byte, error) {
	switch {
	case path == containerfileName && s.def.Containerfile != nil:
		return s.def.Containerfile, nil
	case path == manifestName && s.def.PackageTOML != nil:
		return s.def.PackageTOML, nil
	}
	f, err := s.tree.Open(join(s.def.Dir, path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, s.left+1))
	if err != nil {
		return nil, err
	}
	if s.left -= int64(len(data)); s.left < 0 {
		return nil, fmt.Errorf("holds more than %d bytes", maxSnapshot)
	}
	return data, nil
}

// maxHops is where Linux gives up following links.
const maxHops = 40

// checkLink follows the link at path as the kernel would, and fails where that
// leaves the folder. What is not there leads nowhere else.
func (s *snapshot) checkLink(path string) error {
	hops := 0
	var at []string // where the walk is
	todo := strings.Split(path, "/")
	for len(todo) > 0 {
		step := todo[0]
		todo = todo[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return errors.New("leaves the folder")
			}
			at = at[:len(at)-1]
			continue
		}
		target, ok := s.links[strings.Join(append(at, step), "/")]
		if !ok {
			at = append(at, step)
			continue
		}
		if hops++; hops > maxHops {
			return errors.New("too many links")
		}
		if strings.HasPrefix(target, "/") {
			return errors.New("leaves the folder: the path is absolute")
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return nil
}

// join is path.Join for paths that are clean.
func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}
