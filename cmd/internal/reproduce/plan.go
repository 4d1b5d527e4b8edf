package reproduce

import (
	"context"
	"fmt"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Blocked is an output that cannot be reproduced, whatever is done here.
type Blocked struct {
	Ref graph.Ref
	Why string // a sentence without its subject
}

// Plan says what is to be built.
type Plan struct {
	*plan.Plan           // a step for each output that is not blocked
	Blocked    []Blocked // sorted
}

// New plans to build each of refs from the published images of its direct dependencies,
// unless v, a view of an area, already has such a build. With again they are built anew.
// digests/ is about the platforms that definitions force, or linux/amd64, and so is the
// plan.
func New(ctx context.Context, v *tree.View, refs []graph.Ref, again bool) (*Plan, error) {
	p := &Plan{Plan: &plan.Plan{}}
	for _, ref := range refs {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		o := v.Graph.Output(ref)
		if why := blocked(v, o); why != "" {
			p.Blocked = append(p.Blocked, Blocked{ref, why})
			continue
		}
		p.Targets = append(p.Targets, ref)
		p.Steps = append(p.Steps, step(v, o, again))
	}
	return p, nil
}

// blocked returns why o cannot be reproduced; "" if it can.
func blocked(v *tree.View, o *graph.Output) string {
	if v.Published[o.String()].IsZero() {
		return v.Unlisted(o.String())
	}
	for _, d := range o.Inputs() {
		if v.Published[d.String()].IsZero() {
			return fmt.Sprintf("there is no image of its dependency %s to build it from: %s", d, v.Unlisted(d.String()))
		}
		if n := len(d.Platforms(nil)); n != 1 {
			return fmt.Sprintf("its dependency %s is for %d platforms, and digests/ lists one image", d, n)
		}
	}
	return ""
}

func step(v *tree.View, o *graph.Output, again bool) *plan.Step {
	s := &plan.Step{Output: o, Action: plan.ActionBuild, FromPublished: true, Request: o.Request(nil)}
	rec, why := driver.Reproduced(v, o, s.Request.Platforms)
	if rec.Output != "" {
		s.LastFinished = rec.Finished
	}
	switch {
	case why != "":
		s.Reason = why
	case again:
		s.Reason = "--again"
	default:
		s.Action, s.Reason = plan.ActionNone, "reproduced before"
	}
	return s
}
