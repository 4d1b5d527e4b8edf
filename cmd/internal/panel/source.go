package panel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// A source lists published digests that take the place of the tree's digests/.
type source struct {
	name   string
	listed cache.Published
	past   *history.History // up to the commit that published them; nil if there is none
}

// SourceError means that a name is not that of a source, or that the source cannot be
// read as one.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }

func sourceErrorf(format string, args ...any) error {
	return &SourceError{fmt.Errorf(format, args...)}
}

// judge returns a judge by the digests that s lists and, for outputs that s does not
// list, by those of inputs.
func (s *source) judge(v *tree.View, inputs cache.Published) *verdict.Judge {
	listed := maps.Clone(inputs)
	maps.Copy(listed, s.listed)
	j := &verdict.Judge{View: v, Against: &verdict.Against{Source: s.name, Published: listed}}
	if s.past == nil {
		j.Open = func() (verdict.History, error) {
			return nil, fmt.Errorf("%w: %s is not a commit of the tree's history", history.ErrNoHistory, s.name)
		}
		return j
	}
	j.Open = func() (verdict.History, error) { return Committed{s.past}, nil }
	return j
}

// openSource reads the digests of a source.
func openSource(ctx context.Context, t *tree.Tree, documents *fetch.Documents, name string) (*source, error) {
	s := &source{name: text.Field(name)}
	var err error
	switch {
	case strings.TrimSpace(name) == "":
		return nil, sourceErrorf("%q: want a branch or tag, an https URL or a folder", name)
	case strings.Contains(name, "://"):
		s.listed, err = digestsAtURL(ctx, documents, name)
	case name == "." || name == ".." || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../"):
		s.listed, err = digestsInFolder(name)
	default:
		s.past, s.listed, err = digestsAtRevision(t, name)
	}
	if err == nil && len(s.listed) == 0 {
		err = sourceErrorf("it lists no digest")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return s, nil
}

// digestsAtURL fetches a raw digests/<stage>.txt.
func digestsAtURL(ctx context.Context, documents *fetch.Documents, address string) (cache.Published, error) {
	u, err := url.Parse(address)
	if err := errors.Join(err, fetch.CheckDocumentURL(address)); err != nil {
		return nil, &SourceError{err}
	}
	stage, ok := strings.CutSuffix(path.Base(u.Path), ".txt")
	if !ok || stage == "" {
		return nil, sourceErrorf("want the address of a file <stage>.txt, such as https://example.org/digests/core.txt")
	}
	data, err := documents.Get(ctx, address)
	if err != nil {
		return nil, err
	}
	listed, err := cache.ParseDigests(bytes.NewReader(data), stage)
	if err != nil {
		return nil, &SourceError{err}
	}
	return listed, nil
}

// digestsInFolder reads dir/digests, or dir itself if it has no folder digests.
func digestsInFolder(dir string) (cache.Published, error) {
	if _, err := os.Lstat(path.Join(dir, "digests")); errors.Is(err, fs.ErrNotExist) {
		if abs, err := os.Stat(dir); err == nil && abs.IsDir() {
			return digestsOfFiles(dir)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &SourceError{err}
	}
	defer root.Close()
	listed, wrong := cache.LoadDigests(root.FS())
	if len(wrong) > 0 {
		return nil, sourceErrorf("reading %w", wrong[0])
	}
	return listed, nil
}

// digestsOfFiles reads the files <stage>.txt of a folder.
func digestsOfFiles(dir string) (cache.Published, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &SourceError{err}
	}
	defer root.Close()
	listed := cache.Published{}
	for _, stage := range graph.Stages {
		info, err := root.Stat(stage + ".txt")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !info.Mode().IsRegular() {
			return nil, sourceErrorf("%s.txt is not a regular file", stage)
		}
		f, err := root.Open(stage + ".txt")
		if err != nil {
			return nil, &SourceError{err}
		}
		one, err := cache.ParseDigests(f, stage)
		f.Close()
		if err != nil {
			return nil, &SourceError{err}
		}
		maps.Copy(listed, one)
	}
	return listed, nil
}

// AtRevision returns the digests that a branch, tag or commit of the tree's history
// published. Its errors are [SourceError]s.
func AtRevision(t *tree.Tree, name string) (cache.Published, error) {
	h, listed, err := digestsAtRevision(t, name)
	if err != nil {
		return nil, err
	}
	return listed, h.Close()
}

// digestsAtRevision reads the digests that a branch, tag or commit of the tree's history
// published. The caller closes the history.
func digestsAtRevision(t *tree.Tree, name string) (*history.History, cache.Published, error) {
	h, err := history.OpenAt(t.Dir, name)
	if err != nil {
		if info, serr := os.Stat(name); serr == nil && info.IsDir() {
			err = fmt.Errorf("%w; if the folder is meant, say ./%s", err, name)
		}
		return nil, nil, &SourceError{err}
	}
	listed := cache.Published{}
	for _, stage := range graph.Stages {
		one, err := Committed{h}.Digests(stage)
		if err != nil {
			h.Close()
			return nil, nil, &SourceError{err}
		}
		maps.Copy(listed, one)
	}
	return h, listed, nil
}
