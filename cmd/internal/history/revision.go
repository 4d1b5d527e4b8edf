package history

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// OpenAt is Open for any revision: HEAD (or @), a branch, a tag, a remote's branch, a reference's full name, or the 40 hex
// digits of a commit. The History speaks for the last commit that changed anything in digests/, seen from there.
func OpenAt(treeDir, revision string) (*History, error) {
	at, err := locate(treeDir)
	if err != nil {
		return nil, err
	}
	s, err := openStore(at)
	if err != nil {
		return nil, err
	}
	h := &History{store: s}
	c, err := s.revision(revision)
	if err == nil {
		err = h.findFrom(c, at.prefix)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return h, nil
}

// prefixes of what a short name may mean.
var prefixes = []string{"refs/heads/", "refs/tags/", "refs/remotes/", "refs/remotes/origin/"}

// revision returns the commit of a name. One that means two commits is an error: git would choose.
func (s *store) revision(name string) (*object.Commit, error) {
	if err := s.supported(); err != nil {
		return nil, err
	}
	if plumbing.IsHash(name) {
		return s.commit(plumbing.NewHash(name))
	}
	var found *object.Commit
	var first string
	for _, full := range fullNames(name) {
		ref, err := s.resolve(full)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			continue
		}
		if err != nil {
			return nil, noHistory("reading %q: %w", full, err)
		}
		c, err := s.peel(ref)
		if err != nil {
			return nil, err
		}
		if found != nil && found.Hash != c.Hash {
			return nil, noHistory("%q is both %s and %s, which are two commits: name one in full", name, first, full)
		}
		if found == nil {
			found, first = c, full
		}
	}
	if found == nil {
		hint := ""
		if expression().MatchString(name) {
			hint = "; name a commit by its 40 hex digits, which git rev-parse prints"
		}
		return nil, noHistory("the repository has no branch, tag or commit %.200q%s", name, hint)
	}
	return found, nil
}

// expression is what git would compute a commit from, or find by the first digits.
var expression = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[~^:{]|^[0-9a-fA-F]{4,40}$`) })

// fullNames are the references that a name may mean.
func fullNames(name string) (all []string) {
	switch {
	case name == "HEAD" || name == "@":
		return []string{"HEAD"}
	case strings.HasPrefix(name, "refs/"):
		return []string{name}
	}
	for _, p := range prefixes {
		all = append(all, p+name)
	}
	return all
}

func (s *store) resolve(full string) (plumbing.Hash, error) {
	name := plumbing.ReferenceName(full)
	if err := name.Validate(); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("not the name of a reference: %w", plumbing.ErrReferenceNotFound)
	}
	ref, err := storer.ResolveReference(s.refs, name)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return ref.Hash(), nil
}

// maxTags bounds tags of tags, which a forged repository may make endless.
const maxTags = 10

// peel returns the commit that a reference's hash means: itself, or what an annotated tag is of.
func (s *store) peel(hash plumbing.Hash) (*object.Commit, error) {
	for range maxTags {
		tag := new(object.Tag)
		if err := s.read(hash, tag); err != nil {
			return s.commit(hash)
		}
		hash = tag.Target
	}
	return nil, noHistory("the tag %.12s is of a tag of a tag", hash)
}
