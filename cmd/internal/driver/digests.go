package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// Listed is an output and its digest as digests/ would list it.
type Listed struct {
	Ref    graph.Ref
	Digest oci.Digest
}

// Digests reads the digests of refs from out/, in their order. Missing are those that
// out/ does not have, damaged those whose layout cannot be read, or whose blobs are not
// those that sx built or preseeded.
func Digests(v *tree.View, refs []graph.Ref) (found []Listed, missing []graph.Ref, damaged []Refusal) {
	for _, ref := range refs {
		l, err := readLayout(v, v.Graph.Output(ref))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, ref)
		case err != nil:
			damaged = append(damaged, Refusal{Ref: ref, Reason: err.Error()})
		default:
			found = append(found, Listed{ref, l.Digest()})
		}
	}
	return found, missing, damaged
}

// readLayout checks the blobs of what has a record, which are known; of what make left
// it reads no layer, which would take as long as hashing all of out/, but those that were
// found damaged.
func readLayout(v *tree.View, o *graph.Output) (cache.Layout, error) {
	if _, err := v.Record(o); err != nil {
		return v.Store.Present(o.String())
	}
	return v.Check(o)
}

// Line is a line of digests/ that is to be another.
type Line struct {
	Name     string     // of the output
	Old, New oci.Digest // zero: there was none, or there is none any more
	Skipped  string     // why the tree does not have the output, if that is known: the line stays
}

// UnknownLines are the lines of outputs that the tree does not have, as far as its broken
// definitions tell what they are of.
func UnknownLines(t *tree.Tree) (lines []Line) {
	broken := map[string]bool{}
	for _, b := range t.Graph.Broken() {
		for _, ref := range b.Outputs {
			broken[ref.String()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Published)) {
		if broken[name] {
			continue
		}
		ref, err := graph.ParseRef(name)
		switch {
		case err != nil:
			lines = append(lines, Line{Name: name, Old: t.Published[name]})
		case t.Graph.Output(ref) == nil:
			lines = append(lines, Line{Name: name, Old: t.Published[name], Skipped: t.Graph.Skipped(ref)})
		}
	}
	return lines
}

// WriteDigests replaces the lines of refs in digests/ by what this machine built, keeps
// the other lines and drops those of outputs that the tree does not have, unless a
// definition is broken or skipped that may have them. If any of
// refs may not be published, or is MISMATCH or UNPROVEN and not forced, it writes nothing, and the
// error is a *RefusedError. It returns the lines that changed, those that were dropped
// last.
func WriteDigests(j *verdict.Judge, refs []graph.Ref, force bool) ([]Line, error) {
	next, changed, err := NewDigests(j, refs, force)
	if err != nil || maps.Equal(next, j.View.Published) {
		return nil, err
	}
	if err := j.View.Store.WriteDigests(next); err != nil {
		return nil, err
	}
	return changed, nil
}

// NewDigests returns what WriteDigests would make of digests/, and the lines that
// would change, and writes nothing.
func NewDigests(j *verdict.Judge, refs []graph.Ref, force bool) (cache.Published, []Line, error) {
	v := j.View
	next := maps.Clone(v.Published)
	var dropped []Line
	if len(v.Graph.Broken()) == 0 {
		dropped = slices.DeleteFunc(UnknownLines(v.Tree), func(l Line) bool { return l.Skipped != "" })
	}
	for _, l := range dropped {
		delete(next, l.Name)
	}
	var changed []Line
	refused := &RefusedError{Doing: "refusing to write digests"}
	for _, ref := range refs {
		d, reason, err := publishable(v, ref)
		if err != nil {
			return nil, nil, err
		}
		r := Refusal{Ref: ref, Reason: reason, Final: true}
		if reason == "" {
			r = replaceable(j, ref, force)
		}
		if r.Reason != "" {
			refused.Refusals = append(refused.Refusals, r)
			continue
		}
		if old := next[ref.String()]; old != d {
			next[ref.String()] = d
			changed = append(changed, Line{Name: ref.String(), Old: old, New: d})
		}
	}
	if slices.ContainsFunc(refused.Refusals, func(r Refusal) bool { return !r.Final }) {
		refused.Remedy = "find out why before you replace what was published; --force replaces it"
	}
	if len(refused.Refusals) > 0 {
		return nil, nil, refused
	}
	return next, append(changed, dropped...), nil
}

// replaceable refuses to replace the line of an output without force if its digest is
// not known to differ for what changed in the tree.
func replaceable(j *verdict.Judge, ref graph.Ref, force bool) Refusal {
	v := j.Judge(ref)
	r := Refusal{Ref: ref, Word: v.Word}
	switch {
	case force:
	case v.Word == verdict.Unproven:
		r.Reason = "UNPROVEN: " + v.Note
	case v.Word == verdict.Mismatch:
		r.Reason = fmt.Sprintf("MISMATCH: built here as %s, published as %s", v.Got, v.Want)
		if v.Note != "" {
			r.Reason += " (" + v.Note + ")"
		}
	}
	return r
}

// publishable returns the digest of ref, or why it may not be listed.
func publishable(v *tree.View, ref graph.Ref) (oci.Digest, string, error) {
	o := v.Graph.Output(ref)
	l, err := v.Check(o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return oci.Digest{}, "it is not in out/", nil
	case err != nil:
		return oci.Digest{}, err.Error(), nil
	}
	rec, proven := v.Proof(o, l.Digest())
	if !proven {
		return oci.Digest{}, "it was not built here", nil
	}
	if err := rec.Exact(l); err != nil {
		return oci.Digest{}, "it is not what was built here: " + err.Error(), nil
	}
	switch {
	case rec.Engine.Probe != buildkit.ProbeDigest:
		return oci.Digest{}, "its engine makes other bytes than StageX's", nil
	}
	want := o.Request(nil).Platforms
	if l.Manifests[0].Platform != want[0] {
		return oci.Digest{}, fmt.Sprintf("digests/ lists %s, this is %s", want[0], l.Manifests[0].Platform), nil
	}
	var platforms []string
	for _, m := range l.Manifests {
		platforms = append(platforms, m.Platform)
	}
	reason, err := plan.Stale(v, o, o.Platforms(platforms), rec.Engine.Probe)
	if err != nil {
		return oci.Digest{}, "", err
	}
	if reason != nil {
		return oci.Digest{}, "it is not up to date (" + reason.String() + "); run sx build " + ref.String(), nil
	}
	return l.Digest(), "", nil
}
