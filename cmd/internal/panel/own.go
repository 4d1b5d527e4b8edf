package panel

import (
	"bytes"
	"fmt"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// Own returns a judge by the tree's own digests/. It opens the tree's git history when
// it first needs it; done closes it.
func Own(v *tree.View) (j *verdict.Judge, done func()) {
	open, done := ownHistory(v.Tree)
	return &verdict.Judge{View: v, Open: open}, done
}

// ownHistory returns a function that opens the tree's git history, and one that closes it.
func ownHistory(t *tree.Tree) (open func() (verdict.History, error), done func()) {
	var opened *history.History
	open = func() (verdict.History, error) {
		var err error
		if opened, err = history.Open(t.Dir); err != nil {
			return nil, err
		}
		return Committed{opened}, nil
	}
	return open, func() {
		if opened != nil {
			opened.Close()
		}
	}
}

// Committed is a git history that also reads digests/ as its commit has it.
type Committed struct{ *history.History }

var (
	_ verdict.History          = Committed{}
	_ verdict.CommittedDigests = Committed{}
)

// Digests parses digests/<stage>.txt as it was published.
func (p Committed) Digests(stage string) (cache.Published, error) {
	data, err := p.PublishedDigests(stage + ".txt")
	if err != nil {
		return nil, err
	}
	lines, err := cache.ParseDigests(bytes.NewReader(data), stage)
	if err != nil {
		return nil, fmt.Errorf("at commit %s: %w", p.PublishedAt(), err)
	}
	return lines, nil
}
