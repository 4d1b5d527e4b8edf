package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newEngineCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "engine",
		Short: "Show, stop or clean the engine that builds run on",
		Long: `The engine starts by itself when something must be built, and ends by itself a few
seconds after the last sx is done with it: these commands are never necessary. Its data
is a cache: without it the next builds run every step again.

Acts on the engine chosen by --engine, BUILDKIT_HOST or stagex.toml. For an engine that
sx did not start (a BuildKit elsewhere, docker), only "status" works; "up", "down" and
"manifest" are for pods in a cluster (kubernetes://).`,
		Example: `  sx engine status
  sx engine status --engine docker
  sx engine stop
  sx engine logs | less
  sx engine clean`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			writeHelp(a.stderr, c)
			return usagef("no command given")
		},
		SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(newEngineStatusCommand(a), newEngineStopCommand(a), newEngineLogsCommand(a), newEngineCleanCommand(a), newEngineUpCommand(a), newEngineDownCommand(a), newEngineManifestCommand(a))
	addEngineFlags(c)
	return c
}

func newEngineStatusCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether the engine runs, where, since when, and its disk usage",
		Long: `Also shows how many sx use it. It does not start the engine. The exit code is 0
whether the engine runs or not; with --json, see "running".`,
		Example: `  sx engine status
  sx engine status --json | jq .running`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return withEngines(a, c, func(all []fleet.Member) error {
				var errs []error
				for _, e := range all {
					s, err := buildkit.Ask(c.Context(), e.Engine)
					if err == nil {
						s.Name = e.Name
						err = printStatus(a.stdout, s, asJSON, time.Now())
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
	addJSONFlag(c, &asJSON, "the same, and more")
	return c
}

func newEngineStopCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "stop",
		Short: "Stop the engine",
		Long: `Stops the engine and waits until all its processes have ended. While another sx
builds on it, that is an error (exit code 1). With --force the engine is stopped all
the same: the other sx starts a new one and runs its current steps again.`,
		Example:     `  sx engine stop`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return withManaged(a, c, "stop it", func(e buildkit.Managed) error {
				return busy(e.Stop(c.Context(), force))
			})
		},
	}
	addForceFlag(c, &force)
	return c
}

func newEngineLogsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "logs",
		Short: "Print the engine's log",
		Long: `Prints what the engine logged since it was last started; if an engine crashed, the
log of that one comes first. The logs of builds are in .sx/logs (sx log).`,
		Example:     `  sx engine logs | tail`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return withManaged(a, c, "read its log", func(e buildkit.Managed) error {
				w := text.NewLogWriter(a.stdout)
				return errors.Join(e.Logs(c.Context(), w), w.Close())
			})
		},
	}
}

func newEngineCleanCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "clean",
		Short: "Stop the engine and remove its cache",
		Long: `Stops the engine like "sx engine stop" and removes its cache and its logs: the next
builds run every step again. out/, records and proofs are kept. The engine of an
ordinary user leaves files of other owners: this command removes them without root,
for example before the tree is removed.`,
		Example:     `  sx engine clean && rm -rf ~/stagex`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return withManaged(a, c, "clean it", func(e buildkit.Managed) error {
				before, err := e.Status(c.Context())
				if err != nil {
					return err
				}
				if err := busy(e.Clean(c.Context(), force)); err != nil {
					return err
				}
				removed := text.Bytes(before.Bytes - before.Shared)
				if before.Unmeasured != "" {
					removed = "the engine's cache"
				}
				_, err = fmt.Fprintf(a.stdout, "%s removed\n", removed)
				return err
			})
		},
	}
	addForceFlag(c, &force)
	return c
}

func addForceFlag(c *cobra.Command, force *bool) {
	c.Flags().BoolVar(force, "force", false, "even while another sx builds on it")
}

// busy adds the remedy to a *buildkit.BusyError.
func busy(err error) error {
	var b *buildkit.BusyError
	if errors.As(err, &b) {
		return fmt.Errorf("%w: wait for it, end it, or use --force", err)
	}
	return err
}

// withEngines calls do with the engines of the settings. It reads no definition, and does
// not create the state folder.
func withEngines(a *app, c *cobra.Command, do func([]fleet.Member) error) error {
	dir, err := a.treeDir()
	if err != nil {
		return err
	}
	set, err := a.settings(dir, changedFlags(c))
	if err != nil {
		return err
	}
	var store *cache.Store
	state := set.Paths.StateDir(dir)
	_, missing := os.Lstat(state)
	if embedded, _ := set.Embedded(); embedded && !errors.Is(missing, fs.ErrNotExist) {
		if store, err = cache.Open(dir, cache.Options{Dir: state, KeyFile: keyFile(), Log: a.logger()}); err != nil {
			return err
		}
	}
	all, err := a.engines(store, set, plainTalk{a.stderr})
	if err != nil {
		return err
	}
	return do(all)
}

// withManaged is withEngines for commands that work only on an engine that sx manages.
func withManaged(a *app, c *cobra.Command, what string, do func(buildkit.Managed) error) error {
	return withEngines(a, c, func(all []fleet.Member) error {
		if len(all) > 1 {
			return usagef("this works on one engine at a time, and %d are set: choose one with --engine", len(all))
		}
		e := all[0].Engine
		m, ok := e.(buildkit.Managed)
		if !ok {
			return usagef("sx did not start the %s engine and cannot %s: do that on its machine", e.Kind(), what)
		}
		return do(m)
	})
}

// neverRan is the embedded engine of a tree in which nothing was ever built.
type neverRan struct{}

var _ buildkit.Managed = neverRan{}

func (neverRan) Kind() string { return "embedded" }

func (neverRan) Connect(context.Context) (*buildkit.Conn, error) {
	return nil, errors.New("no engine has ever run in this tree")
}

func (n neverRan) Status(context.Context) (*buildkit.Status, error) {
	return &buildkit.Status{Kind: n.Kind()}, nil
}

func (neverRan) Stop(context.Context, bool) error { return nil }

func (neverRan) Clean(context.Context, bool) error { return nil }

func (neverRan) Logs(context.Context, io.Writer) error { return nil }

func printStatus(w io.Writer, s *buildkit.Status, asJSON bool, now time.Time) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	line := headline(s, now)
	if s.Name != "" {
		line = s.Name + ": " + line
	}
	fmt.Fprintln(w, line)
	process := ""
	if s.PID != 0 {
		process = fmt.Sprint(s.PID)
	}
	for _, row := range [][2]string{
		{"place", s.Place}, {"process", process}, {"BuildKit", s.BuildKit}, {"sx", buildOf(s)},
		{"runc", s.Runc}, {"layers by", s.Snapshotter}, {"builds for", strings.Join(s.Platforms, ", ")},
		{"holds", holds(s)}, {"log", s.Log},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %-11s %s\n", row[0], text.Field(row[1]))
		}
	}
	return nil
}

// headline returns the first line: whether the engine runs, since when, for how many sx.
func headline(s *buildkit.Status, now time.Time) string {
	switch {
	case !s.Running:
		return s.Kind + " engine: not running"
	case s.Since.IsZero():
		return s.Kind + " engine: running"
	}
	line := fmt.Sprintf("%s engine: running for %s, since %s", s.Kind, text.Duration(now.Sub(s.Since)), s.Since.Local().Format("2006-01-02 15:04:05"))
	if s.Clients == 0 {
		return line + ", idle"
	}
	return line + fmt.Sprintf(", for %d sx", s.Clients)
}

// buildOf describes the build of sx that the engine belongs to: this one or another.
func buildOf(s *buildkit.Status) string {
	switch s.SX {
	case "":
		return ""
	case embedded.BuildID():
		return "this build (" + s.SX + ")"
	}
	return "another build (" + s.SX + ")"
}

func holds(s *buildkit.Status) string {
	switch {
	case s.Unmeasured != "":
		return "unknown: " + s.Unmeasured
	case s.Bytes == 0:
		return "nothing"
	}
	line := text.Bytes(s.Bytes)
	if s.Shared > 0 {
		line += fmt.Sprintf(", of which %s are shared with out/", text.Bytes(s.Shared))
	}
	if s.CacheSize > 0 {
		line += fmt.Sprintf("; kept below %s", text.Bytes(s.CacheSize))
	}
	return line
}
