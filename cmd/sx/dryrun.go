package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// dryRun prints what a build would do: a line for each output that is not up to
// date, in an order in which they could be built, and the sums.
func dryRun(ctx context.Context, w io.Writer, t *build.Tree, refs []graph.Ref, set settings.Settings, o buildOptions) error {
	plan, err := t.Plan(ctx, refs, build.PlanOptions{
		Platforms: set.Build.Platforms, NoCache: o.noCache, Rebuild: o.rebuild, Probe: buildkit.ProbeDigest,
	})
	if err != nil {
		return err
	}
	if o.json {
		return planJSON(w, plan)
	}
	for _, s := range plan.Steps {
		if s.Action != build.ActionNone {
			fmt.Fprintf(w, "%s: %s, because %s\n", s.Output.Ref, s.Action, text.Field(s.Reason))
		}
	}
	fmt.Fprintf(w, "%s: %d to build, %d up to date\n", count(len(plan.Steps), "output"), plan.Count(build.ActionBuild), plan.Count(build.ActionNone))
	return nil
}

// planStep is a step as `sx build --dry-run --json` prints it. It only gains
// fields.
type planStep struct {
	Ref     graph.Ref      `json:"ref"`
	Action  build.Action   `json:"action"`
	Reason  string         `json:"reason"`
	Because *graph.Ref     `json:"because,omitempty"` // see build.Step
	Changes []build.Change `json:"changes,omitempty"`
	Request graph.Request  `json:"request"`
}

func planJSON(w io.Writer, plan *build.Plan) error {
	steps := []planStep{}
	for _, s := range plan.Steps {
		steps = append(steps, planStep{s.Output.Ref, s.Action, s.Reason, orNoRef(s.Because), s.Changes, s.Request})
	}
	return printJSON(w, map[string]any{"steps": steps})
}

func orNoRef(r graph.Ref) *graph.Ref {
	if r == (graph.Ref{}) {
		return nil
	}
	return &r
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
