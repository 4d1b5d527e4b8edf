package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/impact"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/graph"
)

type impactOptions struct{ json, markdown bool }

func newImpactCommand(a *app) *cobra.Command {
	var o impactOptions
	c := &cobra.Command{
		Use:   "impact [REF]",
		Short: "Print what a change since a git ref touches",
		Long: `Compares the definitions as they are now, committed or not, with those of REF: a branch,
a tag, a commit's 40 hex digits, or one of these with ~N. It prints which definitions
differ, which outputs must be built again for it (their own and all dependents), how long
that should take if they were built here before, and what became of their lines in
digests/: kept lines are of digests that may have to change.

Without REF it compares with the commit where HEAD left the branch that it is based on: the
newest of its merge bases with main, staging, master and the default branch of the remotes
upstream and origin, else with a local one, else with HEAD. In a clone with all its history
that is what a pull request from here would change.

The outputs are an upper bound: a build goes no further than an output that has the digest
it had before. Nothing is built, and git is not run.`,
		Example: `  sx impact
  sx impact 2026.03.0
  sx impact HEAD~1 --markdown >> "$GITHUB_STEP_SUMMARY"
  sx build $(sx impact --json | jq -r '.outputs[].ref')`,
		Annotations: ownWords(codes(exitFailed, exitMachine), map[int]string{
			exitUsage: "wrong usage or settings, no such REF, no history, or a broken definition",
		}),
		ValidArgsFunction: a.completeRevisions,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("sx impact takes one branch, tag or commit, and got %d", len(args))
			}
			if err := exclusive(c, "json", "markdown"); err != nil {
				return err
			}
			return runImpact(c.Context(), a, strings.Join(args, ""), o)
		},
	}
	addJSONFlag(c, &o.json, "definitions, outputs, times")
	c.Flags().BoolVar(&o.markdown, "markdown", false, "print Markdown, for a pull request")
	return c
}

func runImpact(ctx context.Context, a *app, ref string, o impactOptions) error {
	return a.inTree(ctx, nil, nil, func(s *session, _ []graph.Ref) error {
		h, report, err := pastAt(s, ref)
		if errors.Is(err, history.ErrNoHistory) {
			return usageError{err}
		} else if err != nil {
			return err
		}
		defer h.Close()
		report.Commit = h.PublishedAt().String()
		report.Impact, err = impact.Find(impact.Now{Graph: s.tree.Graph, Published: s.tree.Published, Files: func(dir string) ([]graph.File, error) { return definitionFiles(s, dir) }}, panel.Committed{History: h})
		if err != nil {
			return usageError{err}
		}
		expectTimes(s, &report)
		switch {
		case o.json:
			return printJSON(a.stdout, impactJSONOf(report, h.PublishedAt()))
		case o.markdown:
			return report.Markdown(a.stdout)
		}
		return report.Print(a.stdout)
	})
}

// pastAt opens the history at ref, or if that is "" at the commit to compare with.
func pastAt(s *session, ref string) (h *history.History, r impact.Report, err error) {
	if ref != "" {
		h, err = history.Since(s.tree.Dir, ref)
		return h, r, err
	}
	h, of, err := history.SinceFork(s.tree.Dir)
	if r.Is = "where HEAD left " + of; of == "" {
		r.Is = "HEAD"
	}
	return h, r, err
}

// definitionFiles reads the folder of a definition, also of a broken one.
func definitionFiles(s *session, dir string) ([]graph.File, error) {
	for _, d := range s.tree.Graph.Definitions() {
		if d.Dir == dir {
			snap, err := s.tree.Snapshot(d)
			if err != nil {
				return nil, err
			}
			return snap.Files, nil
		}
	}
	return graph.Snapshot(s.tree.FS, &graph.Definition{Dir: dir})
}

// expectTimes fills in how long the builds should take.
func expectTimes(s *session, r *impact.Report) {
	touched := map[graph.Ref]int{}
	for n, o := range r.Outputs {
		touched[o.Ref] = n
	}
	p := &plan.Plan{Targets: r.Refs()}
	for _, o := range s.tree.Graph.Order(p.Targets) {
		if _, ok := touched[o.Ref]; ok {
			step := &plan.Step{Output: o, Action: plan.ActionBuild}
			if rec, err := s.view.Record(o); err == nil && rec.Origin == cache.BuiltHere {
				step.LastDuration = max(rec.Finished.Sub(rec.Started), 0)
			}
			p.Steps = append(p.Steps, step)
		}
	}
	c := capacity(s.set)
	f := schedule.NewForecast(s.tree, p, c)
	r.Fetch = f.Fetch
	r.Time = impact.Time{Work: f.Work, Longest: f.Longest, Estimate: f.Estimate, Jobs: c.TotalJobs(), Untimed: f.Untimed}
	for _, step := range p.Steps {
		if !step.Untimed {
			r.Outputs[touched[step.Output.Ref]].Seconds = step.Expected.Seconds()
		}
	}
}

// impactJSON is what sx impact --json prints. It only gains fields.
type impactJSON struct {
	Since struct {
		Commit string    `json:"commit"`
		Time   time.Time `json:"time"`
		Is     string    `json:"is,omitempty"` // why that commit, if REF was not given
	} `json:"since"`
	Changes []impact.Change `json:"changes"`
	Outputs []impact.Output `json:"outputs"`
	Gone    []string        `json:"gone"`
	Fetch   int             `json:"fetch"`
	// Forecast is in seconds; it is missing if none of the outputs was ever built here.
	Forecast map[string]any `json:"forecast,omitempty"`
}

func impactJSONOf(r impact.Report, at history.Commit) impactJSON {
	out := impactJSON{
		Changes: append([]impact.Change{}, r.Changes...), Outputs: append([]impact.Output{}, r.Outputs...),
		Gone: append([]string{}, r.Gone...), Fetch: r.Fetch,
	}
	out.Since.Commit, out.Since.Time, out.Since.Is = at.Hash, at.Time, r.Is
	if t := r.Time; len(r.Outputs) > t.Untimed {
		out.Forecast = map[string]any{
			"work": t.Work.Seconds(), "longest_path": t.Longest.Seconds(), "estimate": t.Estimate.Seconds(), "guessed": t.Untimed,
		}
	}
	return out
}

// completeRevisions completes branches and tags.
func (a *app) completeRevisions(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	dir, err := a.treeDir()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := history.Names(dir)
	var like []string
	for _, name := range append([]string{"HEAD"}, names...) {
		if strings.HasPrefix(name, begun) {
			like = append(like, name)
		}
	}
	return like, cobra.ShellCompDirectiveNoFileComp
}
