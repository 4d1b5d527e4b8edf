package history

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// maxObject bounds a commit, a tree or a digests file, in bytes. StageX's largest is under 100 KiB.
const maxObject = 16 << 20

// store reads the objects and references of one repository.
type store struct {
	*filesystem.Storage
	at    place
	roots []*os.Root
}

// openStore opens the git folders. What they hold is read when asked for.
func openStore(at place) (*store, error) {
	s := &store{at: at}
	own, err := s.openRoot(at.gitDir)
	if err != nil {
		return nil, noHistory("opening the git folder: %w", err)
	}
	common := own
	if at.common != at.gitDir {
		if common, err = s.openRoot(at.common); err != nil {
			return nil, errors.Join(noHistory("opening the common git folder: %w", err), s.Close())
		}
	}
	s.Storage = filesystem.NewStorageWithOptions(
		dotgit.NewRepositoryFilesystem(own, common),
		cache.NewObjectLRUDefault(),
		filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: maxObject},
	)
	return s, nil
}

func (s *store) openRoot(dir string) (rootFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return rootFS{}, err
	}
	s.roots = append(s.roots, root)
	return rootFS{root: root}, nil
}

// supported says why a repository cannot be read here at all: go-git knows neither sha256 nor reftable.
func (s *store) supported() error {
	cfg, err := readConfig(s.at.common)
	if err != nil {
		return noHistory("%w", err)
	}
	ext := cfg.Section("extensions")
	if format := ext.Option("objectformat"); format != "" && !strings.EqualFold(format, "sha1") {
		return noHistory("the repository hashes with %q, which cannot be read here", format)
	}
	if refs := ext.Option("refstorage"); refs != "" && !strings.EqualFold(refs, "files") {
		return noHistory("the repository keeps its references as %q, which cannot be read here", refs)
	}
	return nil
}

// Close closes the packs and the folders.
func (s *store) Close() error {
	var err error
	if s.Storage != nil {
		err = s.ObjectStorage.Close()
	}
	for _, root := range s.roots {
		err = errors.Join(err, root.Close())
	}
	return err
}

// errLarge is of an object that is not what this package reads.
var errLarge = errors.New("the object is too large")

// EncodedObject refuses objects that are too large to be what this package reads.
func (s *store) EncodedObject(t plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if err := s.fits(hash); err != nil {
		return nil, err
	}
	obj, err := s.Storage.EncodedObject(t, hash)
	if err == nil && obj.Size() > maxObject {
		return nil, errLarge
	}
	return obj, err
}

var _ storer.EncodedObjectStorer = (*store)(nil)

// fits inflates a loose object as far as it may go: go-git believes neither the size
// that it names nor any other, and would keep gigabytes that a few megabytes become.
func (s *store) fits(hash plumbing.Hash) error {
	name := hash.String()
	f, err := s.Filesystem().Open("objects/" + name[:2] + "/" + name[2:])
	if err != nil {
		return nil // in a pack, or nowhere
	}
	defer f.Close()
	r, err := zlib.NewReader(f)
	if err != nil {
		return err
	}
	head := make([]byte, maxHeader)
	n, err := io.ReadFull(r, head)
	if err == nil && bytes.IndexByte(head, 0) < 0 {
		return errors.New("it does not begin as an object does")
	}
	left := maxObject + maxHeader - int64(n)
	if n, _ := io.CopyN(io.Discard, r, left+1); n > left {
		return errLarge
	}
	return nil // what else is wrong with it go-git tells
}

// maxHeader is more than the bytes before an object: its type, its size, a zero.
const maxHeader = 64

func (s *store) commit(hash plumbing.Hash) (*object.Commit, error) {
	c, err := object.GetCommit(s, hash)
	if err != nil {
		return nil, s.explain("commit", hash, err)
	}
	return c, nil
}

func (s *store) tree(hash plumbing.Hash) (*object.Tree, error) {
	t, err := object.GetTree(s, hash)
	if err != nil {
		return nil, s.explain("tree", hash, err)
	}
	return t, nil
}

// subtree returns the hash of the folder that path, its names, leads to from a tree; zero where there is none.
func (s *store) subtree(from plumbing.Hash, path ...string) (plumbing.Hash, error) {
	for _, name := range path {
		t, err := s.tree(from)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		from = plumbing.ZeroHash
		for _, e := range t.Entries {
			if e.Name == name && e.Mode == filemode.Dir {
				from = e.Hash
			}
		}
		if from.IsZero() {
			break
		}
	}
	return from, nil
}

// explain says why an object cannot be read, and what helps.
func (s *store) explain(kind string, hash plumbing.Hash, err error) error {
	if !errors.Is(err, plumbing.ErrObjectNotFound) {
		return noHistory("reading %s %.12s: %w", kind, hash, err)
	}
	if shallow, err := s.Shallow(); err == nil && len(shallow) > 0 {
		return errShallow
	}
	if _, err := s.Filesystem().Stat(alternates); err == nil {
		return noHistory("%s %.12s lies in another repository (%s), which is not followed: run git repack -a -d", kind, hash, alternates)
	}
	return noHistory("%s %.12s is missing, as in a partial clone: run git fetch --refetch", kind, hash)
}
