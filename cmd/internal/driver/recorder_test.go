package driver

import (
	"context"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule/scheduletest"
)

// recorder is a run whose builds take no time and leave nothing.
type recorder struct {
	scheduletest.Recorder
	images func(context.Context, *plan.Step) error // of the prefetcher
}
