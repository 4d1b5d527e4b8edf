package history

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

var errShallow = noHistory("the clone is shallow and ends before the commit that published the digests: run git fetch --unshallow")

// find sets the commit that last changed prefix/digests/, seen from HEAD.
func (h *History) find(prefix string) error {
	head, err := h.store.head()
	if err != nil {
		return err
	}
	return h.findFrom(head, prefix)
}

// findFrom is find, seen from any commit.
func (h *History) findFrom(from *object.Commit, prefix string) error {
	var root []string
	if prefix != "." {
		root = strings.Split(prefix, "/")
	}
	c, err := h.store.publishing(from, append(slices.Clone(root), "digests"))
	if err != nil {
		return err
	}
	h.published = Commit{Hash: c.Hash.String(), Time: c.Committer.When}
	h.tree, err = h.store.subtree(c.TreeHash, root...)
	return err
}

func (s *store) head() (*object.Commit, error) {
	if err := s.supported(); err != nil {
		return nil, err
	}
	ref, err := storer.ResolveReference(s.refs, plumbing.HEAD)
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound):
		return nil, noHistory("HEAD names no commit")
	case err != nil:
		return nil, noHistory("reading HEAD: %w", err)
	}
	return s.commit(ref.Hash())
}

// publishing walks as "git log -1 -- digests" does: from a commit to a parent with the very same digests/, and where no
// parent has it, there it is. At a shallow commit the parents are not known, so it cannot be the answer.
func (s *store) publishing(c *object.Commit, digests []string) (*object.Commit, error) {
	want, err := s.subtree(c.TreeHash, digests...)
	if err != nil {
		return nil, err
	}
	if want.IsZero() {
		return nil, noHistory("digests/ was never committed")
	}
	shallow, err := s.shallowCommits()
	if err != nil {
		return nil, err
	}
	for !shallow[c.Hash] {
		next, err := s.parentWith(c, digests, want)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return c, nil
		}
		c = next
	}
	return nil, errShallow
}

// parentWith returns the first parent of c whose digests/ is want, nil where none is. A parent that cannot be read is an
// error only where no other is the one.
func (s *store) parentWith(c *object.Commit, digests []string, want plumbing.Hash) (*object.Commit, error) {
	var missing error
	for _, hash := range c.ParentHashes {
		parent, err := s.commit(hash)
		if err != nil {
			missing = err
			continue
		}
		got, err := s.subtree(parent.TreeHash, digests...)
		if err != nil {
			missing = err
			continue
		}
		if got == want {
			return parent, nil
		}
	}
	return nil, missing
}
