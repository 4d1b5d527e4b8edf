package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

func newLogCommand(a *app) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "log OUTPUT",
		Short: "Print the log of an output's last build",
		Long: `Prints what the engine said of the last build of an output, and how it ended. The
file's name goes to stderr; beside it are the logs of the nine builds before.

--follow goes on while the build runs, also one of another sx, and ends with it.
It takes no lock and holds nobody up.

Steps that are CACHED did not run: stderr names the log that has their output, of
this output or of one that is built from the same definition.

The exit code is 0 when the log was printed, with --follow only if the build
succeeded; 1 when there is no log, or with --follow the build did not succeed.`,
		Example: `  sx log core-gcc | less
  sx log core-gcc -f`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one output: sx log core-gcc")
			}
			return runLog(c.Context(), a, args[0], follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the running build ends")
	return c
}

func runLog(ctx context.Context, a *app, selector string, follow bool) error {
	state, err := a.stateDir()
	if err != nil {
		return err
	}
	family, err := a.logOwner(ctx, selector, state)
	if err != nil {
		return err
	}
	l, err := build.OpenLog(state, family[0])
	if err != nil {
		return err
	}
	defer l.Close()
	running := l.Running()
	said := "sx: " + l.Path
	if running && !follow {
		said += " (still running: sx log -f follows it)"
	}
	fmt.Fprintln(a.stderr, text.Field(said))
	out := text.NewLogWriter(a.stdout) // it is escaped, if nobody else wrote it
	if follow {
		err = l.Follow(ctx, out)
	} else {
		err = l.Print(out)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if n, log := build.CachedRuns(state, l, family); log != "" {
		fmt.Fprintln(a.stderr, text.Field(fmt.Sprintf("sx: of its steps, %d did not run here but were CACHED: see %s", n, log)))
	}
	if ended := l.Ended(); follow && ended != build.Built {
		if ended == "" {
			fmt.Fprintln(a.stderr, "sx: the log has no end: the sx that built was killed")
		}
		return codeError(exitFailed)
	}
	return nil
}

// stateDir is where the tree that -C or the working directory names has its state.
func (a *app) stateDir() (string, error) {
	dir, err := a.treeDir()
	if err != nil {
		return "", err
	}
	set, err := a.settings(dir, nil)
	return set.Paths.StateDir(dir), err
}

// logOwner is the output that a selector names, and then the others of its
// definition. What the tree does not have, or does not say for an error in some
// definition, may have a log all the same.
func (a *app) logOwner(ctx context.Context, selector, state string) ([]string, error) {
	g, err := a.loadGraph(ctx)
	var sel selection
	if err == nil {
		sel, err = selectRefs(g, []string{selector})
	}
	if err == nil {
		err = sel.err()
	}
	if err != nil {
		if ref, bad := graph.ParseRef(selector); bad == nil {
			l, bad := build.OpenLog(state, ref.String())
			if bad == nil {
				return []string{ref.String()}, l.Close()
			}
			if !errors.As(bad, new(*build.NoLogError)) {
				return nil, bad
			}
		}
		return nil, err
	}
	refs := sel.refs
	if len(refs) > 1 {
		return nil, usagef("%q is %d outputs: %s; name one", selector, len(refs), names(refs))
	}
	owner := []string{refs[0].String()}
	for _, r := range g.Output(refs[0]).Definition.Outputs {
		if r != refs[0] {
			owner = append(owner, r.String())
		}
	}
	return owner, nil
}
