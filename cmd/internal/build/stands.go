package build

import (
	"cmp"
	"fmt"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// Standing tells for which outputs the published digest stands: the image that
// digests/ lists is what the tree says now, because every definition in the
// output's closure is what it was at the last commit that changed anything in
// digests/. It does not say that the digest is right; only building does.
type Standing struct {
	judge     *Judge
	published cache.Published // at that commit; nil where the history does not tell
	memo      map[graph.Ref]string
	roots     map[graph.Ref]graph.Ref // of those that only do not stand because of another: which
}

// Committed is what a History may also know: what digests/ was at that commit.
type Committed interface {
	Digests() (cache.Published, error)
}

// Standing is asked with the judge's history.
func (j *Judge) Standing() (*Standing, error) {
	s := &Standing{judge: j, memo: map[graph.Ref]string{}, roots: map[graph.Ref]graph.Ref{}}
	history, _ := j.openHistory()
	if c, ok := history.(Committed); ok {
		published, err := c.Digests()
		if err != nil {
			return nil, err
		}
		s.published = published
	}
	return s, nil
}

// WhyNot is why the published digest of an output does not stand, "" where it does.
func (s *Standing) WhyNot(ref graph.Ref) (string, error) {
	if why, known := s.memo[ref]; known {
		return why, nil
	}
	why, err := s.whyNot(ref)
	if err == nil {
		s.memo[ref] = why
	}
	return why, err
}

func (s *Standing) whyNot(ref graph.Ref) (string, error) {
	j, name := s.judge, ref.String()
	digest, listed := j.Tree.Published[name]
	history, noHistory := j.openHistory()
	switch {
	case !listed:
		return "digests/ has no line for it", nil
	case noHistory != nil:
		return fmt.Sprintf("whether its definition changed since is unknown: %v", noHistory), nil
	case s.published != nil && s.published[name] != digest:
		return "its line in digests/ is not committed", nil
	}
	o := j.Tree.Graph.Output(ref)
	changed, err := j.changedSince(history, o.Definition)
	if err != nil {
		return "", err
	}
	if changed != "" {
		return changed + " changed since digests/ did", nil
	}
	for _, d := range o.Deps {
		why, err := s.WhyNot(d)
		if err != nil {
			return "", err
		}
		if why != "" {
			root := cmp.Or(s.roots[d], d)
			s.roots[ref] = root
			return fmt.Sprintf("%s is built into it, and %s", root, s.memo[root]), nil
		}
	}
	return "", nil
}
