package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/buildlog"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

type logOptions struct{ follow, list, json bool }

func newLogCommand(a *app) *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use:   "log OUTPUT",
		Short: "Print the log of an output's last build",
		Long: `Prints what the engine printed during the last build of an output, and how the build
ended. The file's name goes to stderr.

--follow keeps printing until the build ends, also for a build of another sx; the exit
code is then 0 only if the build succeeded. It takes no lock. --list lists the logs that
are kept, at most ten per output, the newest first.

Steps that are CACHED did not run in this build. stderr names the log with their output,
which may be that of another output of the same definition.`,
		Example: `  sx log core-gcc | less
  sx log core-gcc -f
  sx log core-gcc --list`,
		Annotations:       codes(exitFailed),
		ValidArgsFunction: a.completeLogs,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("name one output: sx log core-gcc")
			case o.list && o.follow:
				return usagef("--list and --follow exclude each other")
			case o.json && !o.list:
				return usagef("--json goes with --list")
			}
			return runLog(c.Context(), a, args[0], o)
		},
	}
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "keep printing until the running build ends")
	c.Flags().BoolVar(&o.list, "list", false, "list the logs of the output")
	addJSONFlag(c, &o.json, "with --list, the path and the time of each log")
	return c
}

func runLog(ctx context.Context, a *app, selector string, o logOptions) error {
	state, err := stateDir(a)
	if err != nil {
		return err
	}
	family, err := logOwner(ctx, a, selector, state)
	if err == nil && o.list {
		err = listLogs(a.stdout, state, family[0], o.json)
	} else if err == nil {
		err = printLog(ctx, a, state, family, o.follow)
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: the logs are those of the user who built; run as that user, or set paths.state to a folder of your own", err)
	}
	return err
}

// loggedJSON is a log as `sx log --list --json` prints it.
type loggedJSON struct {
	Path    string    `json:"path"`
	Started time.Time `json:"started"`
}

// listLogs lists the logs of an output, the newest first.
func listLogs(w io.Writer, state, output string, asJSON bool) error {
	files, err := os.ReadDir(filepath.Join(state, "logs", output))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	logs := []loggedJSON{}
	for _, f := range slices.Backward(files) {
		started, err := time.Parse("20060102T150405.000000000Z.log", f.Name())
		if err == nil && f.Type().IsRegular() {
			logs = append(logs, loggedJSON{filepath.Join(state, "logs", output, f.Name()), started})
		}
	}
	if len(logs) == 0 {
		return &buildlog.NoLogError{Output: output}
	}
	if asJSON {
		return printJSON(w, map[string]any{"logs": logs})
	}
	for _, l := range logs {
		fmt.Fprintf(w, "%s  %s\n", moment(l.Started), text.Field(l.Path))
	}
	return nil
}

func printLog(ctx context.Context, a *app, state string, family []string, follow bool) error {
	l, err := buildlog.Open(state, family[0])
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
	out := text.NewLogWriter(a.stdout) // escaped again: another program may have written it
	if follow {
		err = l.Follow(ctx, out)
	} else {
		err = l.Print(out)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if n, log := buildlog.CachedRuns(state, l, family); log != "" {
		fmt.Fprintln(a.stderr, text.Field(fmt.Sprintf("sx: CACHED steps, which did not run here: %d; see %s", n, log)))
	}
	if ended := plan.Outcome(l.Ended()); follow && ended != plan.Built {
		if ended == "" {
			fmt.Fprintln(a.stderr, "sx: the log is incomplete: the sx that wrote it was killed")
		}
		return codeError(exitFailed)
	}
	return nil
}

// stateDir returns the state folder of the tree at -C or the working directory.
func stateDir(a *app) (string, error) {
	dir, err := a.treeDir()
	if err != nil {
		return "", err
	}
	set, err := a.settings(dir, nil)
	return set.Paths.StateDir(dir), err
}

// logOwner returns the output that a selector names, followed by the others of its
// definition. An output that the tree does not have, or whose definition is broken, may
// still have a log.
func logOwner(ctx context.Context, a *app, selector, state string) ([]string, error) {
	g, err := a.readGraph(ctx)
	var of graph.Ref
	if err == nil {
		of, err = a.oneOutput(g, selector)
	}
	if err != nil {
		if ref, bad := graph.ParseRef(selector); bad == nil {
			l, bad := buildlog.Open(state, ref.String())
			if bad == nil {
				return []string{ref.String()}, l.Close()
			}
			if !errors.As(bad, new(*buildlog.NoLogError)) {
				return nil, bad
			}
		}
		return nil, err
	}
	owner := []string{of.String()}
	for _, r := range g.Output(of).Definition.Outputs {
		if r != of {
			owner = append(owner, r.String())
		}
	}
	return owner, nil
}
