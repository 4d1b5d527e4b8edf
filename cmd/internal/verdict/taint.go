package verdict

import (
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// taint fills in v.Tainted of a MISMATCH: the earliest outputs that it was built from, by
// digest, that differ from what is published. If all its inputs are the published ones,
// there are none, and the divergence is its own.
func (j *Judge) taint(v *Verdict, rec cache.Record) {
	if v.Word == Mismatch {
		v.Tainted = j.divergences(rec, map[inputID][]graph.Ref{})
	}
}

// divergences returns the earliest outputs below a build that differ, sorted. known holds
// those of the dependencies that were looked at; only forged records lead back to one that
// is being looked at.
func (j *Judge) divergences(rec cache.Record, known map[inputID][]graph.Ref) (roots []graph.Ref) {
	for _, d := range rec.Deps {
		o := j.output(d.Output)
		if o == nil {
			continue
		}
		got, found := publishedManifest(o, d.Images)
		want, listed := j.published(d.Output)
		if !found || !listed || got == want {
			continue
		}
		id := inputID{d.Output, got}
		below, seen := known[id]
		if !seen {
			known[id] = nil
			if rec, proven := j.proof(d.Output, o, got); proven {
				below = j.divergences(rec, known)
			}
			if len(below) == 0 {
				below = []graph.Ref{o.Ref}
			}
			known[id] = below
		}
		roots = append(roots, below...)
	}
	slices.SortFunc(roots, graph.Ref.Compare)
	return slices.Compact(roots)
}
