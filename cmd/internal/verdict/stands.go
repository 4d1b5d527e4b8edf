package verdict

import (
	"cmp"
	"fmt"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// Standing tells for which outputs the published digest stands: the image that
// digests/ lists is what the tree says now, because every definition in the
// output's closure is what it was at the last commit that changed anything in
// digests/. It does not say that the digest is right; only building does.
type Standing struct {
	judge     *Judge
	published map[string]commitment // by stage: at that commit
	memo      map[graph.Ref]string
	roots     map[graph.Ref]graph.Ref // of those that only do not stand because of another: which
}

// Committed is what a History may also know: what digests/ was at that commit.
type Committed interface {
	// Digests reads what was listed of a stage.
	Digests(stage string) (cache.Published, error)
}

// commitment is what was listed of a stage, or why that is not known.
type commitment struct {
	lines cache.Published
	err   error
}

// Standing is asked with the judge's history.
func (j *Judge) Standing() *Standing {
	return &Standing{
		judge: j, published: map[string]commitment{},
		memo: map[graph.Ref]string{}, roots: map[graph.Ref]graph.Ref{},
	}
}

// committed is whether digest is what the history lists for an output, if it tells.
func (s *Standing) committed(history History, ref graph.Ref, digest oci.Digest) (bool, error) {
	c, ok := history.(Committed)
	if !ok {
		return true, nil
	}
	was, known := s.published[ref.Stage]
	if !known {
		was.lines, was.err = c.Digests(ref.Stage)
		s.published[ref.Stage] = was
	}
	return was.lines[ref.String()] == digest, was.err
}

// WhyNot is why the published digest of an output does not stand, "" where it does.
func (s *Standing) WhyNot(ref graph.Ref) string {
	why, known := s.memo[ref]
	if !known {
		why = s.whyNot(ref)
		s.memo[ref] = why
	}
	return why
}

func (s *Standing) whyNot(ref graph.Ref) string {
	j, name := s.judge, ref.String()
	digest, listed := j.View.Published[name]
	history, noHistory := j.OpenHistory()
	switch {
	case !listed:
		return "digests/ has no line for it"
	case noHistory != nil:
		return fmt.Sprintf("whether its definition changed since is unknown: %v", noHistory)
	}
	if same, err := s.committed(history, ref, digest); err != nil {
		return fmt.Sprintf("whether its line in digests/ is committed is unknown: %v", err)
	} else if !same {
		return "its line in digests/ is not committed"
	}
	o := j.View.Graph.Output(ref)
	switch changed := j.changedSince(history, o.Definition); {
	case changed.dir != "":
		return changed.dir + " changed since digests/ did"
	case changed.unknown != nil:
		return fmt.Sprintf("whether its definition changed since is unknown: %v", changed.unknown)
	}
	for _, d := range o.Deps {
		if s.WhyNot(d) != "" {
			root := cmp.Or(s.roots[d], d)
			s.roots[ref] = root
			return fmt.Sprintf("%s is built into it, and %s", root, s.memo[root])
		}
	}
	return ""
}
