package tree

import (
	"fmt"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// PublishedError says that published digests are unknown because digests/ cannot be read
// whole.
type PublishedError struct {
	Unread []*cache.DigestsError
}

// maxUnread is how many errors a PublishedError prints.
const maxUnread = 5

func (e *PublishedError) Error() string {
	lines := []string{"digests/ cannot be read whole: the published digests of the outputs concerned are unknown; correct it, or restore it (git checkout digests):"}
	for _, w := range e.Unread[:min(len(e.Unread), maxUnread)] {
		lines = append(lines, "  "+w.Error())
	}
	if more := len(e.Unread) - maxUnread; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Unread returns why the published digest of an output that [Tree.Published] does not
// list is unknown. Nil means that digests/ has no line for it.
func (t *Tree) Unread(output string) error {
	if _, listed := t.Published[output]; listed {
		return nil
	}
	for _, w := range t.unread {
		if w.Concerns(output) {
			return w
		}
	}
	return nil
}

// Unlisted says why [Tree.Published] does not list an output.
func (t *Tree) Unlisted(output string) string {
	if unread := t.Unread(output); unread != nil {
		return "its published digest is unknown: " + unread.Error()
	}
	return "digests/ has no line for it"
}

// UnreadError returns a *PublishedError about what of digests/ cannot be read and concerns
// one of refs; nil if nothing does.
func (t *Tree) UnreadError(refs []graph.Ref) error {
	var unread []*cache.DigestsError
	for _, w := range t.unread {
		if slices.ContainsFunc(refs, func(ref graph.Ref) bool {
			_, listed := t.Published[ref.String()]
			return !listed && w.Concerns(ref.String())
		}) {
			unread = append(unread, w)
		}
	}
	return publishedError(unread)
}

// AllUnreadError is UnreadError about all of digests/.
func (t *Tree) AllUnreadError() error { return publishedError(t.unread) }

func publishedError(unread []*cache.DigestsError) error {
	if len(unread) == 0 {
		return nil
	}
	return &PublishedError{unread}
}

// UnreadStage returns why the file of a stage in digests/ cannot be read whole, so that it
// must not be rewritten.
func (t *Tree) UnreadStage(stage string) error {
	for _, w := range t.unread {
		if w.IsIn(stage) {
			return w
		}
	}
	return nil
}

// WriteDigests makes digests/ list exactly p. Files that cannot be read whole stay as they
// are.
func (t *Tree) WriteDigests(p cache.Published) error {
	return t.Store.WriteDigests(p, t.unread...)
}
