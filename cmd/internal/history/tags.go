package history

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// A Tag is a tag of a clone, with the published digests of its tree.
type Tag struct {
	Name  string
	Files [][]byte // digests/<stage>.txt, or digests.txt as the first releases have it
}

// maxRefs bounds the references that Tags looks at. StageX has some hundreds.
const maxRefs = 1 << 16

// Tags reads the published digests at every tag of a clone that accept accepts: a checkout, or a bare repository. The user
// names the clone. Tags without such a file are left out; the order is that of the repository.
func Tags(dir string, accept func(name string) bool) (tags []Tag, err error) {
	at, err := locateClone(dir)
	if err != nil {
		return nil, err
	}
	s, err := openStore(at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.supported(); err != nil && !errors.Is(err, fs.ErrNotExist) { // git, too, does without a file config
		return nil, err
	}
	refs, err := s.refs.IterReferences()
	if err != nil {
		return nil, noHistory("reading the tags: %w", err)
	}
	defer refs.Close()
	seen := 0
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if seen++; seen > maxRefs {
			return noHistory("the clone has more than %d references", maxRefs)
		}
		name, ok := strings.CutPrefix(ref.Name().String(), "refs/tags/")
		if !ok || ref.Type() != plumbing.HashReference || !accept(name) {
			return nil
		}
		if ref.Hash().IsZero() {
			return noHistory("the tag %.200q holds no commit", name)
		}
		files, err := s.digestsAt(ref.Hash())
		if err == nil && len(files) > 0 {
			tags = append(tags, Tag{name, files})
		}
		return err
	})
	return tags, err
}

// locateClone is locate, and accepts the folder of a bare repository.
func locateClone(dir string) (place, error) {
	at, err := locate(dir)
	if err == nil {
		return at, nil
	}
	real, rerr := realPath(dir)
	if rerr != nil {
		return place{}, noHistory("opening the clone: %w", rerr)
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, serr := os.Lstat(filepath.Join(real, name)); serr != nil {
			return place{}, err
		}
	}
	return place{gitDir: real, common: real, prefix: "."}, nil
}

// digestsAt returns the files of digests at a tag.
func (s *store) digestsAt(tag plumbing.Hash) (files [][]byte, err error) {
	c, err := s.peel(tag)
	if err != nil {
		return nil, err
	}
	root, err := s.tree(c.TreeHash)
	if err != nil {
		return nil, err
	}
	for _, e := range root.Entries {
		switch {
		case e.Name == "digests.txt" && e.Mode.IsFile():
			data, err := s.blob(e.Hash)
			if err != nil {
				return nil, err
			}
			files = append(files, data)
		case e.Name == "digests" && e.Mode == filemode.Dir:
			more, err := s.textFiles(e.Hash)
			if err != nil {
				return nil, err
			}
			files = append(files, more...)
		}
	}
	return files, nil
}

// textFiles reads the files *.txt of a folder, at most a few: there is one for each stage.
func (s *store) textFiles(folder plumbing.Hash) (files [][]byte, err error) {
	t, err := s.tree(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range t.Entries {
		if strings.HasSuffix(e.Name, ".txt") && e.Mode.IsFile() && len(files) < 16 {
			data, err := s.blob(e.Hash)
			if err != nil {
				return nil, err
			}
			files = append(files, data)
		}
	}
	return files, nil
}
