package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
)

// withDisplay calls do with the renderer that the settings and flags ask for. do
// closes it before it prints anything itself; the exit code comes of its error.
func (s *session) withDisplay(ctx context.Context, do func(*progress.Display) error) error {
	mode, err := s.progressMode(s.set, s.flags)
	if err != nil {
		return usageError{err}
	}
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	d, err := progress.New(s.stderr, progress.Options{Mode: mode, Getenv: os.Getenv, Resumed: resumed})
	if err != nil {
		return usageError{err}
	}
	defer d.Close()
	defer context.AfterFunc(ctx, func() { d.Cancelled(context.Cause(ctx)) })()
	err = do(d)
	d.Close()
	d.End(exitCode(err), untold(err))
	return err
}

// progressMode returns the zero Mode if neither a flag nor a setting names one: then
// BUILDKIT_PROGRESS decides.
func (a *app) progressMode(set settings.Settings, flags map[string]string) (progress.Mode, error) {
	wanted := set.Build.Progress
	switch {
	case wanted != string(progress.Auto):
	case a.verbose: // what -v writes would go through the live lines
		wanted = string(progress.Plain)
	case flags["build.progress"] == "":
		wanted = ""
	}
	return progress.ParseMode(wanted)
}

// onFirst calls f once c is closed, unless the returned function comes first,
// which waits for it.
func onFirst(c <-chan struct{}, f func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-c:
			f()
		case <-end:
		}
	}()
	return func() { close(end); <-ended }
}
