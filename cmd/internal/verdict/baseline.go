package verdict

import (
	"cmp"
	"fmt"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// Baseline decides which published images may be used instead of a build: those
// whose line in digests/ is committed, and for which every definition in the output's
// closure is what it was at the last commit that changed anything in digests/.
//
// It does not prove the digest; only building does.
type Baseline struct {
	judge     *Judge
	published map[string]committedLines // by stage: at that commit
	reasons   map[graph.Ref]string      // why an output is not reusable, "" if it is
	roots     map[graph.Ref]graph.Ref   // of an output that only a dependency makes not reusable: that one
}

// CommittedDigests is implemented by a [History] that also knows what digests/ was at
// that commit.
type CommittedDigests interface {
	// Digests reads the lines of a stage.
	Digests(stage string) (cache.Published, error)
}

// committedLines are the committed lines of a stage, or why they are unknown.
type committedLines struct {
	lines cache.Published
	err   error
}

// Baseline returns a Baseline that uses the judge's history.
func (j *Judge) Baseline() *Baseline {
	return &Baseline{
		judge: j, published: map[string]committedLines{},
		reasons: map[graph.Ref]string{}, roots: map[graph.Ref]graph.Ref{},
	}
}

// isCommitted reports whether the history lists digest for an output. A history that
// does not know digests/ is taken to.
func (b *Baseline) isCommitted(history History, ref graph.Ref, digest oci.Digest) (bool, error) {
	c, ok := history.(CommittedDigests)
	if !ok {
		return true, nil
	}
	was, known := b.published[ref.Stage]
	if !known {
		was.lines, was.err = c.Digests(ref.Stage)
		b.published[ref.Stage] = was
	}
	return was.lines[ref.String()] == digest, was.err
}

// Reusable reports whether the published image of an output may be used instead of
// building it, and otherwise why not.
func (b *Baseline) Reusable(ref graph.Ref) (reason string, ok bool) {
	reason, known := b.reasons[ref]
	if !known {
		reason = b.reason(ref)
		b.reasons[ref] = reason
	}
	return reason, reason == ""
}

// reason returns why an output is not reusable, "" if it is.
func (b *Baseline) reason(ref graph.Ref) string {
	j, name := b.judge, ref.String()
	digest, listed := j.View.Published[name]
	history, noHistory := j.OpenHistory()
	switch {
	case !listed:
		return j.View.Unlisted(name)
	case noHistory != nil:
		return fmt.Sprintf("whether its definition changed since is unknown: %v", noHistory)
	}
	if same, err := b.isCommitted(history, ref, digest); err != nil {
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
		if why, ok := b.Reusable(d); !ok {
			root := cmp.Or(b.roots[d], d)
			b.roots[ref] = root
			if root != d {
				why = b.reasons[root]
			}
			return fmt.Sprintf("%s is built into it, and %s", root, why)
		}
	}
	return ""
}
