package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// dryRun prints the plan of a build: a line for each output that is not up to date, in
// an order in which they could be built, and the totals.
func dryRun(ctx context.Context, s *session, refs []graph.Ref, o buildOptions) error {
	w := s.stdout
	sub, done := substitution(s.view, s.set, o)
	defer done()
	engines, err := s.engines(s.tree.Store, s.set, silent{})
	if err != nil {
		return err
	}
	var hub *driver.Hub
	if o.onEach == nil {
		if hub, err = s.hub(silent{}); err != nil {
			return err
		}
		defer closeHub(hub)
	}
	p, err := plan.New(ctx, s.view, refs, plan.Options{
		Platforms: s.set.Build.Platforms, NoCache: o.noCache, Rebuild: o.rebuild, Probe: buildkit.ProbeDigest, Substitution: sub,
		Wanted: driver.LookInHub(s.tree, refs, hub), Force: driver.OnEach(driver.Options{Engines: engines, OnEach: o.onEach != nil}),
	})
	if err != nil {
		return err
	}
	inHub := nameBrought(s.view, p)
	if o.preseed && sub.Unavailable() != nil {
		fmt.Fprintf(s.stderr, "sx: warning: --preseed uses no published image, everything is built: %s\n", text.Field(sub.Unavailable().Error()))
	}
	c := capacity(s.set)
	f := schedule.NewForecast(s.tree, withoutBrought(p), c)
	permitted := driver.Permitted(ctx, s.view, sub, p)
	if o.json {
		return errors.Join(permitted, planJSON(w, p, f))
	}
	for _, step := range p.Steps {
		printStep(w, step)
	}
	pull := ""
	if n := p.Count(plan.ActionPreseed); n > 0 {
		pull = fmt.Sprintf(" %d to preseed,", n)
	}
	if n := p.Count(bring); n > 0 {
		pull += fmt.Sprintf(" %d to bring from the hub,", n)
	}
	fmt.Fprintf(w, "%s: %d to build,%s %d up to date\n", count(len(p.Steps), "output"), p.Count(plan.ActionBuild), pull, p.Count(plan.ActionNone))
	if inHub > 0 {
		fmt.Fprintf(w, "%s in the hub %s, as the records say; a build asks the hub, and builds again those that are lost\n", count(inHub, "output"), hub.Repository())
	}
	printImages(w, p)
	if f.Fetch > 0 {
		fmt.Fprintf(w, "%s to fetch\n", count(f.Fetch, "source"))
	}
	printForecast(w, p.Count(plan.ActionBuild), f, c.TotalJobs())
	return permitted
}

// bring is the action of a step that only takes its image from the hub to out/.
const bring plan.Action = "bring"

// nameBrought gives such steps their action, and counts the outputs that only the hub has.
func nameBrought(v *tree.View, p *plan.Plan) (inHub int) {
	for _, step := range p.Steps {
		if step.Reason == plan.InHub {
			step.Action = bring
		}
		if _, ok := v.Hub(step.Output); ok && (step.Action == bring || step.Action == plan.ActionNone) {
			inHub++
		}
	}
	return inHub
}

// withoutBrought returns p without what takes no job.
func withoutBrought(p *plan.Plan) *plan.Plan {
	steps := slices.Clone(p.Steps)
	return &plan.Plan{Targets: p.Targets, Steps: slices.DeleteFunc(steps, func(s *plan.Step) bool { return s.Action == bring })}
}

// printStep writes the action for an output and its reason. It writes nothing for an
// output that is up to date.
func printStep(w io.Writer, s *plan.Step) {
	if s.Action == plan.ActionNone && !s.Substituted {
		return
	}
	said := fmt.Sprintf("%s: %s, because %s", s.Output.Ref, s.Action, text.Field(s.Reason))
	if s.NotSubstituted != "" {
		said += "; its published image is not used: " + text.Field(s.NotSubstituted)
	}
	fmt.Fprintln(w, said)
}

// printForecast writes how long n builds should take, if at least one was timed before.
func printForecast(w io.Writer, n int, f schedule.Forecast, jobs int) {
	if n == f.Untimed {
		return
	}
	fmt.Fprintf(w, "about %s of work, %s on the longest path, %s with -j %d", text.Duration(f.Work),
		text.Duration(f.Longest), text.Duration(f.Estimate), jobs)
	if f.Untimed > 0 {
		fmt.Fprintf(w, " (%d of them never built here: estimated)", f.Untimed)
	}
	fmt.Fprintln(w)
}

// planStep is a step as `sx build --dry-run --json` prints it. It only gains
// fields.
type planStep struct {
	Ref     graph.Ref     `json:"ref"`
	Action  plan.Action   `json:"action"`
	Reason  string        `json:"reason"`
	Because *graph.Ref    `json:"because,omitempty"` // see plan.Step
	Changes []plan.Change `json:"changes,omitempty"`
	Request graph.Request `json:"request"`
	// Taken and NotTaken are Substituted and NotSubstituted of plan.Step.
	Taken    bool   `json:"taken,omitempty"`
	NotTaken string `json:"not_taken,omitempty"`
	// Expected is in seconds, of what will be built and was before.
	Expected float64 `json:"expected_seconds,omitempty"`
}

func planJSON(w io.Writer, p *plan.Plan, f schedule.Forecast) error {
	steps := []planStep{}
	for _, s := range p.Steps {
		p := planStep{
			Ref: s.Output.Ref, Action: s.Action, Reason: s.Reason, Because: orNoRef(s.Because), Changes: s.Changes,
			Request: s.Output.Request(s.Request.Platforms), Taken: s.Substituted, NotTaken: s.NotSubstituted,
		}
		if s.Action == plan.ActionBuild && !s.Untimed {
			p.Expected = s.Expected.Seconds()
		}
		steps = append(steps, p)
	}
	out := map[string]any{"steps": steps, "fetch": f.Fetch}
	if p.Count(plan.ActionBuild) > f.Untimed {
		out["forecast"] = map[string]any{ // in seconds
			"work": f.Work.Seconds(), "longest_path": f.Longest.Seconds(), "estimate": f.Estimate.Seconds(), "guessed": f.Untimed,
		}
	}
	return printJSON(w, out)
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
