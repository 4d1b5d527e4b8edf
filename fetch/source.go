package fetch

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// Source is one file that a package wants.
type Source struct {
	Name    string     // for messages: "core-rust: rust"
	Path    string     // slash path in the tree: "fetch/core/rust/rustc-1.0.tar.xz"
	Hash    graph.Hash // sha256 of the file
	Mirrors []string   // http and https URLs, tried in order
}

// Report lists the sources by outcome, each list in the order given to Run.
type Report struct {
	Present []Source // were present, verified
	Fetched []Source // downloaded
	Linked  []Source // linked to another path with the same hash
	Bytes   int64    // read from the network, wrong and partial ones included
}

// group is all sources with one hash. It is downloaded at most once.
type group struct {
	seq     int // place in the order given to Run
	hash    graph.Hash
	wants   []want
	mirrors []string // of all wants, distinct, in order
}

// want is one path of a group; index is its place in Run's list.
type want struct {
	Source
	index int
	wrong error // a *WrongError, if a wrong file was found there
}

// groups groups sources by hash, in the order of the first source of each. Two hashes
// for one path, or a path outside fetch/, are an error.
func groups(sources []Source) ([]*group, error) {
	byHash := map[graph.Hash]*group{}
	byPath := map[string]Source{}
	var all []*group
	for i, s := range sources {
		if err := checkPath(s.Path); err != nil {
			return nil, fmt.Errorf("source %q: %w", s.Name, err)
		}
		if other, ok := byPath[s.Path]; ok && other.Hash != s.Hash {
			return nil, fmt.Errorf("source %q: %q is wanted as %s, and as %s by %q", s.Name, s.Path, s.Hash, other.Hash, other.Name)
		}
		byPath[s.Path] = s
		g := byHash[s.Hash]
		if g == nil {
			g = &group{seq: len(all), hash: s.Hash}
			byHash[s.Hash] = g
			all = append(all, g)
		}
		g.add(i, s)
	}
	return all, nil
}

func (g *group) add(index int, s Source) {
	g.wants = append(g.wants, want{Source: s, index: index})
	for _, m := range s.Mirrors {
		if !slices.Contains(g.mirrors, m) {
			g.mirrors = append(g.mirrors, m)
		}
	}
}

func checkPath(p string) error {
	if !fs.ValidPath(p) || !strings.HasPrefix(p, "fetch/") || strings.ContainsRune(p, 0) {
		return fmt.Errorf("path %q is not a plain path under fetch/", p)
	}
	return nil
}
