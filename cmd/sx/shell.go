package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

type shellOptions struct {
	with    string
	offline bool
}

func newShellCommand(a *app) *cobra.Command {
	var o shellOptions
	c := &cobra.Command{
		Use:   "shell OUTPUT [-- PROGRAM [ARG...]]",
		Short: "Open a shell where a build fails, or in an output",
		Long: `Builds OUTPUT up to the RUN that fails, and opens a shell in the state that it left, with
its mounts, environment, user and network. If nothing fails, the shell is in the root of
the output. What you do there is gone when it ends: nothing is recorded, out/ is not
touched, and the build runs on an engine state of its own, which is deleted afterwards.

Its dependencies must be in out/ and its sources in fetch/, as sx build leaves them.

Many images have no shell. --with mounts another output, read-only, at ` + buildkit.WithAt + `, whose
programs are then at the end of PATH; it must be static, as core-busybox is. Without a
terminal the program gets what sx gets on stdin. The exit code is that of the program.`,
		Example: `  sx shell core-curl
  sx shell core-curl --with core-busybox
  sx shell core-curl -- /usr/bin/make -n`,
		Annotations: ownWords(codes(exitFailed, exitMachine, exitDisk), map[int]string{
			exitFailed: "the build failed where no shell can be opened, or sx itself",
		}),
		ValidArgsFunction: a.completeOutputs(true),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || c.ArgsLenAtDash() != 1 && len(args) > 1 {
				return usagef("sx shell takes one output, and a program behind --: sx shell core-curl -- /bin/sh")
			}
			return a.inTree(c.Context(), changedFlags(c), nil, func(s *session, _ []graph.Ref) error {
				ref, err := a.oneOutput(s.tree.Graph, args[0])
				if err != nil {
					return err
				}
				return runShell(c.Context(), s, ref, args[1:], o)
			})
		},
	}
	c.Flags().StringVar(&o.with, "with", "", "mount the image of another `OUTPUT`, in which there is a shell")
	c.Flags().BoolVar(&o.offline, "offline", false, "run every RUN without a network")
	c.RegisterFlagCompletionFunc("with", a.completeOutputs(false))
	addPlatformFlag(c, "the `PLATFORM` to build for; a package's own take precedence")
	return c
}

func runShell(ctx context.Context, s *session, ref graph.Ref, program []string, o shellOptions) (err error) {
	if _, only := s.set.Embedded(); !only {
		return usagef("sx shell needs an engine state that it can delete, so it works on the embedded engine only: SX_ENGINE_ADDRESS=embedded sx shell %s", ref)
	}
	sh := buildkit.Shell{Args: program, Begin: func(failed error) { sayWhere(s, ref, failed) }}
	if o.with != "" {
		l, err := layoutOf(s, o.with)
		if err != nil {
			return err
		}
		sh.With = &l
	}
	job, err := driver.ShellJob(s.view, s.tree.Graph.Output(ref), s.set.Build.Platforms)
	if err != nil {
		return err
	}
	job.Offline = o.offline
	job.Log = text.NewLogWriter(s.stderr)
	if job.Into, err = s.tree.Store.Stage("sx-shell"); err != nil {
		return err
	}
	defer job.Into.Close()
	err = onOwnEngine(ctx, s, func(b *buildkit.Builder) error {
		restore, err := shellTerminal(s, &sh)
		if err != nil {
			return err
		}
		defer restore()
		return b.Shell(ctx, job, sh)
	})
	if exit := (*buildkit.ExitError)(nil); errors.As(err, &exit) {
		return codeError(exit.Code)
	}
	return err
}

// layoutOf is the image of an output that is in out/.
func layoutOf(s *session, name string) (cache.Layout, error) {
	ref, err := s.oneOutput(s.tree.Graph, name)
	if err != nil {
		return cache.Layout{}, fmt.Errorf("--with: %w", err)
	}
	l, err := s.view.Check(s.tree.Graph.Output(ref))
	if err != nil {
		return l, fmt.Errorf("--with %s: %w; sx build %s, or sx preseed %s", name, err, ref, ref)
	}
	return l, nil
}

// sayWhere says in which state the shell is.
func sayWhere(s *session, ref graph.Ref, failed error) {
	if failed == nil {
		fmt.Fprintf(s.stderr, "sx: this is the root of %s; nothing that you do here is kept\r\n", ref)
		return
	}
	fmt.Fprintf(s.stderr, "sx: %s failed: %s\r\nsx: this is what it left; nothing that you do here is kept\r\n", ref, text.Field(failed.Error()))
}

// onOwnEngine calls do with an engine that has a state of its own, and deletes it.
func onOwnEngine(ctx context.Context, s *session, do func(*buildkit.Builder) error) (err error) {
	e, end, err := ownEngine(s.app, s.tree.Store, s.set, "shell")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
	b, err := buildkit.Open(ctx, e, buildkit.Options{Store: s.tree.Store, Log: s.logger()})
	if err != nil {
		return err
	}
	return errors.Join(do(b), b.Close())
}

// ownEngine returns an embedded engine whose state is in a temporary folder of the store.
// end stops it and removes the state.
func ownEngine(a *app, store *cache.Store, set settings.Settings, purpose string) (e *embedded.Engine, end func(context.Context) error, err error) {
	dir, err := store.TempDir(purpose)
	if err != nil {
		return nil, nil, err
	}
	e = a.embedded(store, set)
	e.Dir = dir.Path + "/engine"
	return e, func(ctx context.Context) error { return errors.Join(e.Clean(ctx, false), dir.Close()) }, nil
}

// shellTerminal gives the program the terminal, if sx has one, until restore is called.
func shellTerminal(s *session, sh *buildkit.Shell) (restore func(), err error) {
	sh.Stdin, sh.Stdout, sh.Stderr = os.Stdin, unclosed{s.stdout}, unclosed{s.stderr}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return func() {}, nil
	}
	began := sh.Begin
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	sh.Begin = func(failed error) { // until then a Ctrl-C ends sx
		began(failed)
		term.MakeRaw(fd)
	}
	sh.TTY = true
	sizes := make(chan gateway.WinSize, 1)
	sh.Size = sizes
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	changed <- syscall.SIGWINCH // the size that it has now
	end := make(chan struct{})
	go func() {
		for {
			select {
			case <-end:
				return
			case <-changed:
			}
			if w, h, err := term.GetSize(fd); err == nil {
				select {
				case sizes <- gateway.WinSize{Cols: uint32(w), Rows: uint32(h)}:
				case <-end:
				}
			}
		}
	}()
	return func() { signal.Stop(changed); close(end); term.Restore(fd, state) }, nil
}

// unclosed is a writer that the program's end does not close.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
