package history

import (
	"io"
	"io/fs"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"codeberg.org/stagex/sx/graph"
)

// Changed reports whether the folder dir, a slash path in the tree such as "packages/core/rust", differs from what it was
// at the commit that published the digests, given its files now: by content, by type, by the owner's executable bit (no
// other bit of a mode counts), or by a file more or less. Ignored and untracked files count, because they reach the build;
// fetch/ does not, since it is no part of the definition. A folder without files counts as a file more, because git cannot
// record it. An error is an ErrNoHistory.
func (h *History) Changed(dir string, files []graph.File) (bool, error) {
	names, err := h.Differences(dir, files)
	return len(names) > 0, err
}

// PublishedDigests returns a file of digests/, such as "core.txt", as it was at that commit; nothing where there was none.
func (h *History) PublishedDigests(name string) ([]byte, error) {
	entries, err := h.listing("digests")
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := entries[name]
	if !ok {
		return nil, nil
	}
	return h.store.blob(e.hash)
}

// entry is what git records of a file.
type entry struct {
	mode filemode.FileMode
	hash plumbing.Hash
}

// entryOf returns what git would record of f, and false where it would record nothing, as of a device.
func entryOf(f graph.File) (entry, bool) {
	switch {
	case f.Mode.IsRegular() && f.Mode&0o100 != 0:
		return entry{filemode.Executable, plumbing.ComputeHash(plumbing.BlobObject, f.Data)}, true
	case f.Mode.IsRegular():
		return entry{filemode.Regular, plumbing.ComputeHash(plumbing.BlobObject, f.Data)}, true
	case f.Mode.Type() == fs.ModeSymlink:
		return entry{filemode.Symlink, plumbing.ComputeHash(plumbing.BlobObject, []byte(f.Link))}, true
	}
	return entry{}, false
}

// fetched reports that a path is what make hard-links into a definition before a build.
func fetched(name string) bool {
	return name == "fetch" || strings.HasPrefix(name, "fetch/")
}

// maxEntries bounds a listing: trees that name one another can describe more files than there are atoms.
const maxEntries = 1 << 16

// listing returns every file under dir at the commit, but fetch/; nothing where dir was not there.
func (h *History) listing(dir string) (map[string]entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	files := map[string]entry{}
	hash, err := h.store.subtree(h.tree, strings.Split(dir, "/")...)
	if err != nil || hash.IsZero() {
		return files, err
	}
	left := maxEntries
	return files, h.store.list(files, hash, "", &left)
}

// list adds the files under a tree. A submodule keeps its own mode, which no file has.
func (s *store) list(files map[string]entry, tree plumbing.Hash, under string, left *int) error {
	t, err := s.tree(tree)
	if err != nil {
		return err
	}
	if *left -= len(t.Entries) + 1; *left < 0 || len(under) > 4096 {
		return noHistory("tree %.12s holds too many files", tree)
	}
	for _, e := range t.Entries {
		name := under + e.Name
		switch {
		case fetched(name):
		case e.Mode != filemode.Dir:
			files[name] = entry{mode: e.Mode, hash: e.Hash}
		default:
			if err := s.list(files, e.Hash, name+"/", left); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *store) blob(hash plumbing.Hash) ([]byte, error) {
	b := new(object.Blob)
	if err := s.read(hash, b); err != nil {
		return nil, s.explain("file", hash, err)
	}
	r, err := b.Reader()
	if err != nil {
		return nil, noHistory("reading file %.12s: %w", hash, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, noHistory("reading file %.12s: %w", hash, err)
	}
	return data, nil
}
