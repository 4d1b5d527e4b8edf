package build

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// Listed is an output and its digest as digests/ would list it.
type Listed struct {
	Ref    graph.Ref
	Digest cache.Digest
}

// Digests reads the digests of refs from out/, in their order. What is not in
// out/ is in missing; a layout that cannot be read is an error.
func (t *Tree) Digests(refs []graph.Ref) (found []Listed, missing []graph.Ref, err error) {
	for _, ref := range refs {
		l, err := t.layout(t.Graph.Output(ref))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, ref)
		case err != nil:
			return nil, nil, err
		default:
			found = append(found, Listed{ref, l.Digest()})
		}
	}
	return found, missing, nil
}

// RefusedError lists outputs whose digests this machine may not publish.
type RefusedError struct{ Refusals []Refusal }

// Refusal is one output and the reason.
type Refusal struct {
	Ref    graph.Ref
	Reason string
}

func (e *RefusedError) Error() string {
	var lines []string
	for _, r := range e.Refusals {
		lines = append(lines, fmt.Sprintf("%s: %s", r.Ref, r.Reason))
	}
	return "refusing to write digests that were not made here:\n  " + strings.Join(lines, "\n  ")
}

// WriteDigests replaces the lines of refs in digests/ by what this machine
// built, keeps the other lines and drops those of outputs that the tree does
// not have, unless a definition is broken: it may have them. When any of refs may not be published nothing is written and the
// error is a *RefusedError. It returns the lines that changed.
func (t *Tree) WriteDigests(refs []graph.Ref) ([]Listed, error) {
	next := cache.Published{}
	for name, d := range t.Published {
		if ref, err := graph.ParseRef(name); err == nil && t.Graph.Output(ref) != nil || len(t.Graph.Broken()) > 0 {
			next[name] = d
		}
	}
	var changed []Listed
	var refused []Refusal
	for _, ref := range refs {
		d, reason, err := t.publishable(ref)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			refused = append(refused, Refusal{ref, reason})
			continue
		}
		if next[ref.String()] != d {
			next[ref.String()] = d
			changed = append(changed, Listed{ref, d})
		}
	}
	if len(refused) > 0 {
		return nil, &RefusedError{refused}
	}
	if maps.Equal(next, t.Published) {
		return nil, nil
	}
	if err := t.Store.WriteDigests(next); err != nil {
		return nil, err
	}
	t.Published = next
	return changed, nil
}

// publishable returns the digest of ref, or why it may not be listed.
func (t *Tree) publishable(ref graph.Ref) (cache.Digest, string, error) {
	o := t.Graph.Output(ref)
	l, err := t.whole(o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cache.Digest{}, "it is not in out/", nil
	case err != nil:
		return cache.Digest{}, err.Error(), nil
	}
	rec, proven := t.proof(o, l.Digest())
	if !proven {
		return cache.Digest{}, "it was not built here", nil
	}
	if err := rec.Exact(l); err != nil {
		return cache.Digest{}, "it is not what was built here: " + err.Error(), nil
	}
	switch {
	case rec.Engine.Probe != buildkit.ProbeDigest:
		return cache.Digest{}, "its engine makes other bytes than StageX's", nil
	}
	want := o.Request(nil).Platforms
	if l.Manifests[0].Platform != want[0] {
		return cache.Digest{}, fmt.Sprintf("digests/ lists %s, this is %s", want[0], l.Manifests[0].Platform), nil
	}
	var platforms []string
	for _, m := range l.Manifests {
		platforms = append(platforms, m.Platform)
	}
	reason, err := t.stale(o, o.Request(platforms), rec.Engine.Probe)
	if err != nil {
		return cache.Digest{}, "", err
	}
	if reason != "" {
		return cache.Digest{}, "it is not up to date (" + reason + "); run sx build " + ref.String(), nil
	}
	return l.Digest(), "", nil
}
