package publish

import (
	"fmt"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// RefusedError lists outputs that a command does not publish, and why.
type RefusedError struct {
	Doing    string // "refusing to push"
	Remedy   string // how to publish them all the same, if there is a way
	Refusals []Refusal
}

// Refusal is one output and the reason.
type Refusal struct {
	Ref    graph.Ref
	Reason string
	Word   verdict.Word // its verdict, "" if that is not the reason
	Final  bool         // force does not override it
}

func (e *RefusedError) Error() string {
	lines := []string{e.Doing + ":"}
	for _, r := range e.Refusals {
		lines = append(lines, fmt.Sprintf("  %s: %s", r.Ref, r.Reason))
	}
	if e.Remedy != "" {
		lines = append(lines, e.Remedy)
	}
	return strings.Join(lines, "\n")
}

// Has reports whether an output with the verdict is among the refused.
func (e *RefusedError) Has(w verdict.Word) bool {
	for _, r := range e.Refusals {
		if r.Word == w {
			return true
		}
	}
	return false
}

// refusalOf returns why an output must not be published. A missing or damaged one never
// may. Without force, a MISMATCH may not, nor an output that is UNPROVEN (unless it is the
// published image itself) or not up to date.
func refusalOf(view *tree.View, v verdict.Verdict) (r Refusal, refused bool) {
	r = Refusal{Ref: v.Ref, Word: v.Word}
	o := view.Graph.Output(v.Ref)
	switch {
	case v.Word == verdict.Missing:
		r.Reason, r.Final = (&tree.AbsentError{Ref: v.Ref}).Error(), true
	case v.Damaged:
		r.Reason, r.Final = fmt.Sprintf("%s; sx build %s makes it anew", v.Note, v.Ref), true
	case v.Word == verdict.Mismatch:
		r.Reason = fmt.Sprintf("MISMATCH: built here as %s, published as %s", v.Got, v.Want)
	case v.Word == verdict.Unproven && isPublished(view, o, v.Got):
	case v.Word == verdict.Unproven:
		r.Reason = "UNPROVEN: " + v.Note
	default:
		if reason := staleReason(view, o); reason != "" {
			r.Reason = fmt.Sprintf("it is not up to date (%s); run sx build %s", reason, v.Ref)
		}
	}
	return r, r.Reason != ""
}

// isPublished reports whether out/ holds a preseeded image, undamaged, with the digest
// that digests/ lists now.
func isPublished(v *tree.View, o *graph.Output, d oci.Digest) bool {
	rec, err := v.Record(o)
	if err != nil || rec.Origin != cache.Preseeded || d.IsZero() || v.Published[o.String()] != d {
		return false
	}
	l, err := v.Check(o)
	return err == nil && rec.Exact(l) == nil
}

// staleReason returns why an output that was built here must be built again for the
// platforms that it has, "" if it need not be.
func staleReason(v *tree.View, o *graph.Output) string {
	rec, err := v.Record(o)
	if err != nil {
		return err.Error()
	}
	reason, err := plan.Stale(v, o, o.Platforms(tree.PlatformsIn(rec)), rec.Engine.Probe)
	if err != nil {
		return err.Error()
	}
	return reason.String()
}
