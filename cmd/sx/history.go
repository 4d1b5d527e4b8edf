package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/report"
	keptruns "codeberg.org/stagex/sx/cmd/internal/report/runs"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newHistoryCommand(a *app) *cobra.Command {
	var json bool
	c := &cobra.Command{
		Use:   "history",
		Short: "List the runs that are kept",
		Long: fmt.Sprintf(`Lists the runs of sx build, fetch, preseed and reproduce in this tree, the newest first:
name, when it began, how long it took, how it ended, how many outputs were built, failed
and judged how, and what was typed.

Only runs that built or downloaded something are kept, in .sx/runs: the last %d of them,
at most %s in all. A run that was killed is interrupted; what it told until then is kept.

sx report shows a run. Its name may be shortened, as long as no other begins alike.`, keptruns.KeptRuns, text.Bytes(keptruns.MaxTotal)),
		Example: `  sx history
  sx history --json | jq '.runs[0]'
  sx report 20261130T05           # the run of that hour`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := noArguments(c, args); err != nil {
				return err
			}
			return runHistory(c.Context(), a, json)
		},
	}
	addJSONFlag(c, &json, "the same, with each count")
	return c
}

func runHistory(ctx context.Context, a *app, asJSON bool) error {
	state, err := stateDir(a)
	if err != nil {
		return err
	}
	all, unread, err := summaries(ctx, state)
	if err != nil {
		return ownRuns(err)
	}
	if unread != nil { // the others are still worth listing
		a.warnOf(ownRuns(unread))
	}
	if asJSON {
		return printJSON(a.stdout, map[string]any{"runs": all})
	}
	if len(all) == 0 {
		fmt.Fprintln(a.stderr, "sx: no run is kept: sx has built or downloaded nothing in this tree")
		return nil
	}
	out := bufio.NewWriter(a.stdout)
	for _, s := range all {
		printSummary(out, s)
	}
	return out.Flush()
}

// summaries reads the runs of a state folder, the newest first. Unread joins the errors of
// those that cannot be read.
func summaries(ctx context.Context, state string) (all []report.Summary, unread, err error) {
	ids, err := keptruns.List(state)
	all = []report.Summary{}
	for _, id := range ids {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		kept, err := keptruns.Read(state, id)
		if errors.Is(err, fs.ErrNotExist) { // another sx removed it meanwhile
			continue
		}
		if err != nil {
			unread = errors.Join(unread, err)
			continue
		}
		all = append(all, report.Summarize(report.Of(kept, time.Now())))
	}
	return all, unread, err
}

// ownRuns adds the way out to an error of reading runs.
func ownRuns(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: the runs are those of the user who built; run as that user, or set paths.state to a folder of your own", err)
	}
	return err
}

func printSummary(w io.Writer, s report.Summary) {
	fmt.Fprintf(w, "%s  %s  %8s  %-11s  %s  %s\n", s.ID, moment(s.Began), text.Duration(time.Duration(s.Seconds*float64(time.Second))),
		s.Ending(), text.Field(s.Counts.String()), text.Field(s.Command))
}

// completeRuns completes the names of kept runs, for at most most arguments.
func (a *app) completeRuns(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		state, err := stateDir(a)
		if err != nil || len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ids, _ := keptruns.List(state)
		return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
