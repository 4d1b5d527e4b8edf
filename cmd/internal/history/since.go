package history

import (
	"container/heap"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"codeberg.org/stagex/sx/graph"
)

// Since compares a tree with one commit, that of a revision as OpenAt takes it, which may end in "~N" or "^" as git's may.
// Unlike that of Open, the History speaks for the commit itself, whether or not it changed digests/.
func Since(treeDir, revision string) (*History, error) {
	return since(treeDir, func(s *store) (*object.Commit, error) {
		name, steps, err := ancestor(revision)
		if err != nil {
			return nil, err
		}
		c, err := s.revision(name)
		for ; err == nil && steps > 0; steps-- {
			c, err = s.firstParent(c, revision)
		}
		return c, err
	})
}

// SinceFork is Since the commit where HEAD left the branch that it is based on: of the merge bases of HEAD with the
// remote's branches main, staging and master, and with its default branch, the newest; if there is no such branch, with the
// local ones. of is that branch's name. If there is none at all, the commit is HEAD and of is "".
func SinceFork(treeDir string) (h *History, of string, err error) {
	h, err = since(treeDir, func(s *store) (*object.Commit, error) {
		head, err := s.head()
		if err != nil {
			return nil, err
		}
		base := head
		for _, full := range s.bases() {
			c, err := s.mergeBase(head, full)
			if err != nil {
				return nil, err
			}
			newer, err := s.descends(c, base)
			if err != nil {
				return nil, err
			}
			if c != nil && (of == "" || newer) {
				base, of = c, strings.TrimPrefix(strings.TrimPrefix(full, "refs/remotes/"), "refs/heads/")
			}
		}
		return base, nil
	})
	return h, of, err
}

// since opens the repository of treeDir at the commit that choose returns.
func since(treeDir string, choose func(*store) (*object.Commit, error)) (*History, error) {
	at, err := locate(treeDir)
	if err != nil {
		return nil, err
	}
	s, err := openStore(at)
	if err != nil {
		return nil, err
	}
	h := &History{store: s}
	c, err := choose(s)
	if err == nil {
		h.published = Commit{Hash: c.Hash.String(), Time: c.Committer.When}
		var root []string
		if at.prefix != "." {
			root = strings.Split(at.prefix, "/")
		}
		h.tree, err = s.subtree(c.TreeHash, root...)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return h, nil
}

// maxSteps bounds "~N".
const maxSteps = 10_000

// ancestor splits "HEAD~3^" into "HEAD" and 4.
func ancestor(revision string) (name string, steps int, err error) {
	at := strings.IndexAny(revision, "~^")
	if at < 0 {
		return revision, 0, nil
	}
	name, rest := revision[:at], revision[at:]
	for rest != "" {
		digits := len(rest[1:]) - len(strings.TrimLeft(rest[1:], "0123456789"))
		n := 1
		if digits > 0 {
			n, err = strconv.Atoi(rest[1 : 1+digits])
		}
		if err != nil || n > maxSteps || rest[0] == '^' && n != 1 || rest[0] != '^' && rest[0] != '~' {
			return "", 0, noHistory("%.200q cannot be read: of git's expressions only NAME~N and NAME^ are; git rev-parse prints a commit's 40 hex digits", revision)
		}
		steps, rest = steps+n, rest[1+digits:]
	}
	return name, steps, nil
}

func (s *store) firstParent(c *object.Commit, revision string) (*object.Commit, error) {
	shallow, err := s.shallowCommits()
	switch {
	case err != nil:
		return nil, err
	case shallow[c.Hash]:
		return nil, errCut
	case len(c.ParentHashes) == 0:
		return nil, noHistory("%.200q lies before the first commit", revision)
	}
	return s.commit(c.ParentHashes[0])
}

var errCut = noHistory("the clone is shallow and ends before the commit to compare with: run git fetch --unshallow, or in CI check out the whole history (fetch-depth: 0)")

// mainNames are the branches that others are based on.
var mainNames = []string{"main", "staging", "master"}

// bases returns the full names of the branches that HEAD may be based on.
func (s *store) bases() (full []string) {
	add := func(name string) {
		if _, err := s.resolve(name); err == nil {
			full = append(full, name)
		}
	}
	for _, remote := range []string{"upstream", "origin"} {
		for _, name := range append(slices.Clone(mainNames), "HEAD") {
			add("refs/remotes/" + remote + "/" + name)
		}
	}
	if full != nil {
		return full
	}
	own := ""
	if ref, err := s.refs.Reference(plumbing.HEAD); err == nil && ref.Type() == plumbing.SymbolicReference {
		own = ref.Target().String()
	}
	for _, name := range mainNames {
		if name = "refs/heads/" + name; name != own {
			add(name)
		}
	}
	return full
}

// mergeBase returns the newest commit that head and a reference have both come from, nil if there is none.
func (s *store) mergeBase(head *object.Commit, full string) (*object.Commit, error) {
	ref, err := storer.ResolveReference(s.refs, plumbing.ReferenceName(full))
	if err != nil {
		return nil, noHistory("reading %q: %w", full, err)
	}
	other, err := s.peel(ref.Hash())
	if err != nil {
		return nil, err
	}
	return s.common(head, other)
}

// common returns the newest commit that a and b have both come from, nil if there is none.
func (s *store) common(a, b *object.Commit) (*object.Commit, error) {
	shallow, err := s.shallowCommits()
	if err != nil {
		return nil, err
	}
	w := walk{store: s, shallow: shallow, of: map[plumbing.Hash]uint8{}}
	w.add(a, 1)
	w.add(b, 2)
	return w.common()
}

// descends reports whether c, which may be nil, comes from another commit, of.
func (s *store) descends(c, of *object.Commit) (bool, error) {
	if c == nil || c.Hash == of.Hash {
		return false, nil
	}
	both, err := s.common(c, of)
	return err == nil && both != nil && both.Hash == of.Hash, err
}

// walk visits the ancestors of two commits, the newest first, as far as it must.
type walk struct {
	store   *store
	shallow map[plumbing.Hash]bool
	queue   commitQueue
	of      map[plumbing.Hash]uint8 // which of the two a commit is an ancestor of, a bit each
	cut     bool                    // parents of a visited commit are not in the clone
}

// maxWalk bounds the commits that are visited.
const maxWalk = 100_000

func (w *walk) add(c *object.Commit, of uint8) {
	if w.of[c.Hash]|of == w.of[c.Hash] {
		return
	}
	w.of[c.Hash] |= of
	heap.Push(&w.queue, c)
}

// common returns the first commit that both have come from. Where clocks ran backwards it may be an older one than git
// finds, which makes an impact larger, never smaller.
func (w *walk) common() (*object.Commit, error) {
	for n := 0; len(w.queue) > 0; n++ {
		c := heap.Pop(&w.queue).(*object.Commit)
		switch {
		case w.of[c.Hash] == 3:
			return c, nil
		case n > maxWalk:
			return nil, noHistory("the branches have nothing in common in their last %d commits: name a commit", maxWalk)
		case w.shallow[c.Hash]:
			w.cut = true
			continue
		}
		for _, hash := range c.ParentHashes {
			parent, err := w.store.commit(hash)
			if err != nil {
				return nil, err
			}
			w.add(parent, w.of[c.Hash])
		}
	}
	if w.cut {
		return nil, errCut
	}
	return nil, nil
}

// commitQueue is a heap with the newest commit first.
type commitQueue []*object.Commit

func (q commitQueue) Len() int           { return len(q) }
func (q commitQueue) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q commitQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *commitQueue) Push(x any)        { *q = append(*q, x.(*object.Commit)) }
func (q *commitQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}

// Differences returns the files, sorted, in which the folder dir differs from what it was at the commit, by what Changed
// goes by. A folder without files stands for itself.
func (h *History) Differences(dir string, files []graph.File) (names []string, err error) {
	was, err := h.listing(dir)
	if err != nil {
		return nil, err
	}
	filled := map[string]bool{".": true}
	for _, f := range files {
		if f.Mode.IsDir() || fetched(f.Path) {
			continue
		}
		now, known := entryOf(f)
		if then, ok := was[f.Path]; !ok || !known || now != then {
			names = append(names, f.Path)
		}
		delete(was, f.Path)
		for d := path.Dir(f.Path); !filled[d]; d = path.Dir(d) {
			filled[d] = true
		}
	}
	for _, f := range files {
		if f.Mode.IsDir() && !filled[path.Clean(f.Path)] && !fetched(f.Path) {
			names = append(names, f.Path+"/")
		}
	}
	for name := range was {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Folders returns the names of the folders in dir, a slash path in the tree, that held a file of a name at the commit; none
// where dir was not there.
func (h *History) Folders(dir, file string) (names []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hash, err := h.store.subtree(h.tree, strings.Split(dir, "/")...)
	if err != nil || hash.IsZero() {
		return nil, err
	}
	t, err := h.store.tree(hash)
	if err != nil {
		return nil, err
	}
	for _, e := range t.Entries {
		if e.Mode != filemode.Dir {
			continue
		}
		below, err := h.store.tree(e.Hash)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(below.Entries, func(e object.TreeEntry) bool { return e.Name == file && e.Mode.IsFile() }) {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

// Names returns the short names, sorted, of the branches and tags of a tree's repository, at most some thousand.
func Names(treeDir string) (names []string, err error) {
	at, err := locate(treeDir)
	if err != nil {
		return nil, err
	}
	s, err := openStore(at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	refs, err := s.refs.IterReferences()
	if err != nil {
		return nil, noHistory("reading the branches and tags: %w", err)
	}
	defer refs.Close()
	const most = 4096
	for len(names) < most {
		ref, err := refs.Next()
		if err != nil {
			break
		}
		for _, prefix := range prefixes[:3] {
			if name, ok := strings.CutPrefix(ref.Name().String(), prefix); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
