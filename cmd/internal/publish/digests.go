package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

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

// Digests reads the digests of refs from out/, in their order. Missing lists those that
// out/ does not have; damaged those whose layout cannot be read, or that have a record
// and a blob with other bytes.
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

// readLayout reads the layout of o. If o has a record it checks every blob, whose hashes
// are remembered. Of a layout that make left it reads only the blobs that were once found
// damaged: reading all would take as long as hashing out/.
func readLayout(v *tree.View, o *graph.Output) (cache.Layout, error) {
	if _, err := v.Record(o); err != nil {
		return v.Store.Present(o.String())
	}
	return v.Check(o)
}

// Line is a change of a line of digests/.
type Line struct {
	Name     string     // of the output
	Old, New oci.Digest // zero if the line is added or dropped
	Skipped  string     // why the output's definition is skipped, if it is: then the line stays
}

// UnknownLines lists the lines of digests/ whose outputs the tree does not have. Outputs
// that broken definitions name are left out.
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

// stageOf returns the stage whose file of digests/ has the line of an output.
func stageOf(output string) string {
	stage, _, _ := strings.Cut(output, "-")
	return stage
}

// WriteDigests replaces the lines of refs in digests/ by the digests that this machine
// built. It keeps the other lines, but drops those of outputs that the tree does not
// have, unless a broken or skipped definition may have them. If one of refs may not be
// published, or is MISMATCH or UNPROVEN without force, it writes nothing and the error is
// a *RefusedError. It returns the lines that changed, dropped ones last.
func WriteDigests(j *verdict.Judge, refs []graph.Ref, force bool) ([]Line, error) {
	next, changed, err := NewDigests(j, refs, force)
	if err != nil || maps.Equal(next, j.View.Published) {
		return nil, err
	}
	if err := j.View.WriteDigests(next); err != nil {
		return nil, err
	}
	return changed, nil
}

// NewDigests returns the digests that [WriteDigests] would write, and the lines that
// would change.
func NewDigests(j *verdict.Judge, refs []graph.Ref, force bool) (cache.Published, []Line, error) {
	v := j.View
	next := maps.Clone(v.Published)
	var dropped []Line
	if len(v.Graph.Broken()) == 0 {
		dropped = slices.DeleteFunc(UnknownLines(v.Tree), func(l Line) bool { return l.Skipped != "" || v.UnreadStage(stageOf(l.Name)) != nil })
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
		if unread := v.UnreadStage(ref.Stage); unread != nil {
			reason = unread.Error() + "; correct the line or restore the file (git checkout digests) first: sx rewrites no file that it cannot read whole"
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

// replaceable returns a Refusal with a reason if the line of an output may not be
// replaced without force: its verdict is MISMATCH or UNPROVEN.
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

// publishable returns the digest of ref, or the reason why digests/ may not list it.
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
	if rec.Engine.Probe != buildkit.ProbeDigest {
		return oci.Digest{}, "its engine does not produce StageX's bytes", nil
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
