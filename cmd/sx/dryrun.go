package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// dryRun prints what a build would do: a line for each output that is not up to
// date, in an order in which they could be built, and the sums.
func (s *session) dryRun(ctx context.Context, refs []graph.Ref, o buildOptions) error {
	w := s.stdout
	sub, done := substitution(s.tree, s.set, o)
	defer done()
	plan, err := s.tree.Plan(ctx, refs, build.PlanOptions{
		Platforms: s.set.Build.Platforms, NoCache: o.noCache, Rebuild: o.rebuild, Probe: buildkit.ProbeDigest, Substitution: sub,
	})
	if err != nil {
		return err
	}
	if o.preseed && sub.Unavailable() != nil {
		fmt.Fprintf(s.stderr, "sx: warning: --preseed takes nothing, everything is built: %s\n", text.Field(sub.Unavailable().Error()))
	}
	c := capacity(s.set)
	f := s.tree.Forecast(plan, c)
	if o.json {
		return planJSON(w, plan, f)
	}
	for _, step := range plan.Steps {
		printStep(w, step)
	}
	pull := ""
	if n := plan.Count(build.ActionPreseed); n > 0 {
		pull = fmt.Sprintf(" %d to preseed,", n)
	}
	fmt.Fprintf(w, "%s: %d to build,%s %d up to date\n", count(len(plan.Steps), "output"), plan.Count(build.ActionBuild), pull, plan.Count(build.ActionNone))
	printImages(w, plan)
	if f.Fetch > 0 {
		fmt.Fprintf(w, "%s to fetch\n", count(f.Fetch, "source"))
	}
	printForecast(w, plan.Count(build.ActionBuild), f, c.Jobs)
	return nil
}

// printStep writes what happens with an output and why, unless it is nothing.
func printStep(w io.Writer, s *build.Step) {
	if s.Action == build.ActionNone && !s.Taken {
		return
	}
	said := fmt.Sprintf("%s: %s, because %s", s.Output.Ref, s.Action, text.Field(s.Reason))
	if s.NotTaken != "" {
		said += "; its published image cannot stand for it: " + text.Field(s.NotTaken)
	}
	fmt.Fprintln(w, said)
}

// printForecast says how long n builds should take, where some are known.
func printForecast(w io.Writer, n int, f build.Forecast, jobs int) {
	if n == f.Guessed {
		return
	}
	fmt.Fprintf(w, "about %s of work, %s on the longest path, %s with -j %d", text.Duration(f.Work),
		text.Duration(f.Longest), text.Duration(f.Estimate), jobs)
	if f.Guessed > 0 {
		fmt.Fprintf(w, " (%d of them never built here: guessed)", f.Guessed)
	}
	fmt.Fprintln(w)
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
	// Taken and NotTaken are build.Step's.
	Taken    bool   `json:"taken,omitempty"`
	NotTaken string `json:"not_taken,omitempty"`
	// Expected is in seconds, of what will be built and was before.
	Expected float64 `json:"expected_seconds,omitempty"`
}

func planJSON(w io.Writer, plan *build.Plan, f build.Forecast) error {
	steps := []planStep{}
	for _, s := range plan.Steps {
		p := planStep{
			Ref: s.Output.Ref, Action: s.Action, Reason: s.Reason, Because: orNoRef(s.Because), Changes: s.Changes,
			Request: s.Output.Request(s.Request.Platforms), Taken: s.Taken, NotTaken: s.NotTaken,
		}
		if s.Action == build.ActionBuild && !s.Guessed {
			p.Expected = s.Expected.Seconds()
		}
		steps = append(steps, p)
	}
	out := map[string]any{"steps": steps, "fetch": f.Fetch}
	if plan.Count(build.ActionBuild) > f.Guessed {
		out["forecast"] = map[string]any{ // in seconds
			"work": f.Work.Seconds(), "longest_path": f.Longest.Seconds(), "estimate": f.Estimate.Seconds(), "guessed": f.Guessed,
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
