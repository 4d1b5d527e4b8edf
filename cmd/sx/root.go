package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/selector"
)

// run runs sx with args and returns the exit code.
func run(args []string) int {
	collectLate()
	logrus.SetOutput(io.Discard) // BuildKit's client and containerd's stores log there
	log.SetOutput(io.Discard)    // and gRPC's HTTP/2 server here
	ctx, stop := withSignals(context.Background())
	defer stop()
	stdout := &checkedWriter{w: os.Stdout}
	a := &app{stdout: stdout, stderr: os.Stderr, typed: typed(args)}
	root := newRootCommand(a)
	args, err := replaceMakeVariables(root, joinTools(args), a.stderr)
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
		a.end(ctx)
	}
	if errors.Is(stdout.err, syscall.EPIPE) { // end by SIGPIPE, as other programs do, but only now that stderr is complete
		signal.Reset(syscall.SIGPIPE)
		os.Stdout.WriteString("\n")
	}
	if stdout.err != nil && !errors.Is(err, stdout.err) { // verdicts were lost: that is a failure
		err = errors.Join(stdout.err, err)
	}
	err = fullDisk(err)
	printError(a.stderr, err)
	return exitCode(err)
}

// checkedWriter is stdout. It remembers the first write that failed.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		err = fmt.Errorf("writing to stdout: %w", err)
		c.err = cmp.Or(c.err, err)
	}
	return n, err
}

func newRootCommand(a *app) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "sx",
		Short: "Build StageX packages from source and prove their digests",
		Long: `sx works in a StageX checkout: the folder with packages/ in it, which is searched for
from the working directory upwards.

A SELECTOR names what to work on: an output (core-rust), a name in every stage
(rust), a stage (pallet), a pattern ('core-*'), or a folder (packages/core/rust, or "."
in it). An image reference (stagex/core-rust:1.90.0) or a path below out/ names its
output. --all selects the whole tree.`,
		Example: `  sx build bootstrap-stage0 core-profile   # fetch, build from source, compare with digests/
  sx build pallet-rust --dry-run           # what would be built, and why
  sx verify                                # which outputs in out/ are proven`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if version {
				return printVersion(a.stdout, false)
			}
			writeHelp(a.stderr, c)
			return usagef("no command given")
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { writeHelp(a.stdout, c) })
	f := root.PersistentFlags()
	f.StringVarP(&a.dir, "directory", "C", "", "work in the StageX tree at `DIR` or above it")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "print decisions and their reasons on stderr")
	group(f, groupAny, "directory", "verbose")
	root.Flags().BoolVar(&version, "version", false, "print the version, as sx version does")
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetHelpCommand(newHelpCommand(a))
	addCommands(root, a)
	a.addCompletions(root)
	return root
}

// noArgs refuses an unknown command, and suggests the one that is meant or is similar.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if command := selector.Command(args[0]); command != "" && !c.HasParent() {
		return usagef("unknown command %q; use %s", args[0], command)
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q; did you mean %s?", args[0], near[0])
	}
	return usagef("unknown command %q; see %s --help", args[0], c.CommandPath())
}

// newHelpCommand returns sx help, which fails for an unknown command like sx itself.
func newHelpCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Print the help of a command",
		Long:    `Prints what COMMAND --help prints.`,
		Example: "  sx help engine clean",
		RunE: func(c *cobra.Command, args []string) error {
			of := c.Root()
			for i, name := range args {
				next, _, err := of.Find(args[i : i+1])
				if err != nil || next == of {
					return noArgs(of, []string{name})
				}
				of = next
			}
			of.InitDefaultHelpFlag()
			writeHelp(a.stdout, of)
			return nil
		},
	}
}

// collectLate lets the heap grow to five times what lives in it before garbage is
// collected, instead of twice, as long as it stays below 1.25 GiB. Most commands end
// before that, and reading 444 definitions takes a third less processor time. 100 times
// StageX's outputs keep about half of it alive, see BenchmarkShare.
func collectLate() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(5 << 28)
}
