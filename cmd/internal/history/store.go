package history

import (
	"errors"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// store reads the objects and references of one repository.
type store struct {
	refs    references
	objects *objects
	at      place
	roots   []*os.Root
	shallow map[plumbing.Hash]bool // nil before it is read
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
	s.refs = newReferences(dotgit.NewRepositoryFilesystem(own, common))
	s.objects = newObjects(common.root)
	return s, nil
}

func (s *store) openRoot(dir string) (rootFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return rootFS{}, err
	}
	s.roots = append(s.roots, root)
	return rootFS{root: root, listed: new(int)}, nil
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
	if s.objects != nil {
		err = s.objects.close()
	}
	for _, root := range s.roots {
		err = errors.Join(err, root.Close())
	}
	return err
}

// maxParents bounds the parents of a commit.
const maxParents = 256

func (s *store) commit(hash plumbing.Hash) (*object.Commit, error) {
	c := new(object.Commit)
	if err := s.read(hash, c); err != nil {
		return nil, s.explain("commit", hash, err)
	}
	if len(c.ParentHashes) > maxParents {
		return nil, noHistory("commit %.12s has more than %d parents", hash, maxParents)
	}
	return c, nil
}

func (s *store) tree(hash plumbing.Hash) (*object.Tree, error) {
	t := new(object.Tree)
	if err := s.read(hash, t); err != nil {
		return nil, s.explain("tree", hash, err)
	}
	return t, nil
}

// read decodes an object into one of go-git's types; object.ErrUnsupportedObject if it is of another.
func (s *store) read(hash plumbing.Hash, into interface {
	Decode(plumbing.EncodedObject) error
}) error {
	obj, err := s.objects.get(hash)
	if err != nil {
		return err
	}
	return into.Decode(obj)
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
	if shallow, err := s.shallowCommits(); err == nil && len(shallow) > 0 {
		return errShallow
	}
	if _, err := s.objects.root.Stat(alternates); err == nil {
		return noHistory("%s %.12s lies in another repository (%s), which is not followed: run git repack -a -d", kind, hash, alternates)
	}
	return noHistory("%s %.12s is missing, as in a partial clone: run git fetch --refetch", kind, hash)
}

// shallowCommits returns the commits whose parents a shallow clone does not have.
func (s *store) shallowCommits() (map[plumbing.Hash]bool, error) {
	if s.shallow == nil {
		list, err := s.refs.Shallow()
		if err != nil {
			return nil, noHistory("reading the shallow commits: %w", err)
		}
		s.shallow = map[plumbing.Hash]bool{}
		for _, hash := range list {
			s.shallow[hash] = true
		}
	}
	return s.shallow, nil
}
