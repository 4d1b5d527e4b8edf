package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

func newExplainCommand(a *app) *cobra.Command {
	sc := scope{required: true}
	var json bool
	c := &cobra.Command{
		Use:   "explain SELECTOR... | --all",
		Short: "Explain why an output would be built, or why not",
		Long: `Follows the reason to build an output back to its root cause, one line per step:
through its dependencies to the file, the source, or the missing record that makes the
build necessary. If a dependency has since been rebuilt with another digest, the next
line says why that was done.

For an output that is up to date it prints the evidence: when and by which engine it
was built, its key and its digest.

It builds, downloads and changes nothing. The exit code is 0 in either case.`,
		Example: `  $ sx explain pallet-curl
  pallet-curl: build, because core-curl changed sha256:9a0c44be31f2… → sha256:77c1f06d2e80…
  core-curl: built 2026-03-01 22:14:05 UTC, because packages/core/curl/Containerfile changed

  sx explain core --json | jq -r '.outputs[] | select(.action == "build") | .ref'`,
		Annotations:       codes(exitFailed, exitMachine),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sc.check(c, args); err != nil {
				return err
			}
			return runExplain(c.Context(), a, args, changedFlags(c), json)
		},
	}
	sc.addFlag(c)
	addJSONFlag(c, &json, "the chain of reasons, every change, the record")
	addPlatformFlag(c, "comma-separated `PLATFORMS`, like those of sx build")
	return c
}

func runExplain(ctx context.Context, a *app, selectors []string, flags map[string]string, json bool) error {
	return a.inTree(ctx, flags, selectors, func(s *session, refs []graph.Ref) error {
		sub, done := substitution(s.view, s.set, buildOptions{})
		defer done()
		all, err := plan.Explain(ctx, s.view, refs, plan.Options{Platforms: s.set.Build.Platforms, Probe: buildkit.ProbeDigest, Substitution: sub})
		if err != nil {
			return err
		}
		if json {
			return explainJSON(a.stdout, all)
		}
		for i, e := range all {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			printExplanation(a.stdout, e)
		}
		return nil
	})
}

func printExplanation(w io.Writer, e plan.Explanation) {
	defer printForeign(w, e.Images)
	if e.Action == plan.ActionNone {
		printUpToDate(w, e)
		return
	}
	for i, c := range e.Chain {
		printCause(w, "", c)
		if i == len(e.Chain)-1 && len(c.Changes) > 1 {
			for _, change := range c.Changes {
				fmt.Fprintf(w, "  %s\n", text.Field(change.Text))
			}
		}
	}
	for i, c := range e.Others {
		if i == maxOthers {
			fmt.Fprintf(w, "and %d more with reasons of their own\n", len(e.Others)-i)
			break
		}
		printCause(w, "also ", c)
	}
	if e.Never > 0 {
		fmt.Fprintf(w, "and %s among its dependencies, not built yet\n", count(e.Never, "output"))
	}
}

// maxOthers is how many other root causes are printed; JSON has all.
const maxOthers = 10

func printCause(w io.Writer, lead string, c plan.Cause) {
	what := string(c.Action)
	if !c.Built.IsZero() {
		what = "built " + moment(c.Built)
	}
	fmt.Fprintf(w, "%s%s: %s, because %s\n", lead, c.Ref, what, text.Field(c.Reason))
}

func printUpToDate(w io.Writer, e plan.Explanation) {
	fmt.Fprintf(w, "%s: %s, like all its dependencies (%s)\n", e.Ref, e.Action, count(e.Closure, "output"))
	r := e.Record
	if r == nil {
		return
	}
	fmt.Fprintf(w, "  %-10s %s\n", r.Origin, origin(*r))
	for _, m := range r.Manifests {
		fmt.Fprintf(w, "  digest     %s %s\n", m.Digest, text.Field(string(m.Platform)))
	}
	if !r.Key.IsZero() {
		fmt.Fprintf(w, "  key        %s\n", r.Key)
	}
	if r.Log != "" {
		fmt.Fprintf(w, "  log        %s\n", text.Field(r.Log))
	}
}

func origin(r cache.Record) string {
	if r.Origin == cache.Preseeded {
		return moment(r.Finished) + " from " + text.Field(r.From)
	}
	s := fmt.Sprintf("%s in %s %s (BuildKit %s, sx %s)", moment(r.Finished),
		text.Duration(r.Finished.Sub(r.Started)), byEngines(r), r.Engine.BuildKit, r.Engine.SX)
	if r.NoCache {
		s += ", without the cache"
	}
	return text.Field(s)
}

// byEngines says which engines built what r is about, as they were called then.
func byEngines(r cache.Record) string {
	var all []string
	for _, e := range r.Engines() {
		switch {
		case e.Address == "" || e.Address == e.Kind:
			all = append(all, "the "+e.Kind+" engine")
		case e.Name == "":
			all = append(all, "the engine "+e.Address)
		default:
			all = append(all, "the engine "+e.Name+" ("+e.Address+")")
		}
	}
	return "by " + strings.Join(all, ", and with the same digest by ")
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// The types that `sx explain --json` prints. They only gain fields.
type (
	explainedJSON struct {
		Ref    graph.Ref     `json:"ref"`
		Action plan.Action   `json:"action"`
		Chain  []causeJSON   `json:"chain"`
		Others []causeJSON   `json:"others"`
		Never  int           `json:"never_built"`
		Images []graph.Image `json:"images"` // of other registries
		Record *cache.Record `json:"record"`
	}
	causeJSON struct {
		Ref     graph.Ref     `json:"ref"`
		Action  plan.Action   `json:"action,omitempty"`
		Built   *time.Time    `json:"built,omitempty"` // of a build that is done
		Reason  string        `json:"reason"`
		Changes []plan.Change `json:"changes,omitempty"`
	}
)

func explainJSON(w io.Writer, all []plan.Explanation) error {
	outputs := []explainedJSON{}
	for _, e := range all {
		outputs = append(outputs, explainedJSON{e.Ref, e.Action, causesJSON(e.Chain), causesJSON(e.Others), e.Never, append([]graph.Image{}, e.Images...), e.Record})
	}
	return printJSON(w, map[string]any{"outputs": outputs})
}

func causesJSON(causes []plan.Cause) []causeJSON {
	out := []causeJSON{}
	for _, c := range causes {
		j := causeJSON{c.Ref, c.Action, nil, c.Reason, c.Changes}
		if !c.Built.IsZero() {
			j.Built = &c.Built
		}
		out = append(out, j)
	}
	return out
}
