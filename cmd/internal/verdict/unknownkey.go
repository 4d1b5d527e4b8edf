package verdict

import (
	"fmt"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// excuse makes v, a MISMATCH or CHANGED, UNPROVEN if a key of package.toml that sx does not know
// may account for the difference: one of o's definition, or of a dependency whose
// digest is not the published one either. A definition that got such a key has changed,
// and what sx made of it must not replace what is published without --force.
func (j *Judge) excuse(v *Verdict, o *graph.Output) {
	for _, ref := range j.View.Graph.Closure([]graph.Ref{o.Ref}) {
		dep := j.View.Graph.Output(ref)
		if len(dep.Definition.UnknownKeys) == 0 || dep != o && j.asPublished(dep) {
			continue
		}
		v.Word = Unproven
		v.Note = fmt.Sprintf("built here, and the digest differs from the published %s; but sx does not know what the key %s in %s/package.toml means",
			text.Abbreviate(v.Want.String()), dep.Definition.UnknownKeys[0], dep.Definition.Dir)
		return
	}
}

// asPublished reports whether out/ has the published image of o.
func (j *Judge) asPublished(o *graph.Output) bool {
	layout, err := j.View.Check(o)
	if err != nil {
		return false
	}
	got, found := publishedManifest(o, layout.Manifests)
	want, ok := j.published(o.String())
	return found && ok && got == want
}
