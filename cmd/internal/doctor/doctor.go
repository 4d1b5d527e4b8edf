package doctor

import (
	"context"

	"codeberg.org/stagex/sx/cache/disk"
)

// Examine checks everything, and calls deliver with each line, in a fixed order. It ends
// early only if ctx does.
func Examine(ctx context.Context, m Machine, deliver func(Line)) error {
	checks := []func(context.Context) []Line{
		m.settings, m.tree, m.system, m.engine, m.space, m.memory, m.network, m.gpg,
	}
	disk.InOrder(len(checks), func(i int) []Line { return checks[i](ctx) }, func(_ int, lines []Line) bool {
		if ctx.Err() != nil {
			return false
		}
		for _, l := range lines {
			deliver(l)
		}
		return true
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
