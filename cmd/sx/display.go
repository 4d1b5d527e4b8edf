package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// withDisplay calls do with the renderer that the settings and flags select. do closes
// it before it prints anything itself. do's error is passed to the renderer's end.
func (s *session) withDisplay(ctx context.Context, do func(*progress.Display) error) error {
	mode, err := s.progressMode(s.set, s.flags)
	if err != nil {
		return usageError{err}
	}
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	id := newRunID()
	d, err := progress.New(s.stderr, progress.Options{Mode: mode, Getenv: os.Getenv, Resumed: resumed, Observers: s.observers(ctx, id)})
	if err != nil {
		return usageError{err}
	}
	defer d.Close()
	d.Run(id, s.typed, sxVersion().Version)
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
	case a.verbose: // lines of -v would break the live display
		wanted = string(progress.Plain)
	case flags["build.progress"] == "":
		wanted = ""
	}
	return progress.ParseMode(wanted)
}

// onFirst calls f when c is closed. stop ends the waiting, and returns after f has, if
// f was called.
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

// sentences writes the log entries of -v, each as one line: what was decided, about
// what, and why.
type sentences struct {
	w    io.Writer
	with []zapcore.Field
}

var _ zapcore.Core = sentences{}

func newSentences(w io.Writer) *zap.Logger { return zap.New(sentences{w: w}) }

func (s sentences) Enabled(zapcore.Level) bool { return true }
func (s sentences) Sync() error                { return nil }

func (s sentences) With(fields []zapcore.Field) zapcore.Core {
	return sentences{s.w, append(slices.Clip(s.with), fields...)}
}

func (s sentences) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, s)
}

// Write writes "sx: giving a mirror up (source core/a: one, mirror https://…): HTTP
// status 404".
func (s sentences) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	var names []string
	for _, f := range append(slices.Clip(s.with), fields...) {
		f.AddTo(enc)
		if f.Type != zapcore.ErrorType {
			names = append(names, f.Key)
		}
	}
	said := e.Message
	if e.Level > zapcore.WarnLevel {
		said = "error: " + said
	}
	var of []string
	for _, name := range names {
		of = append(of, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), enc.Fields[name]))
	}
	if len(of) > 0 {
		said += " (" + strings.Join(of, ", ") + ")"
	}
	if why := cmp.Or(enc.Fields["error"], any("")); why != "" {
		said += fmt.Sprintf(": %v", why)
	}
	_, err := fmt.Fprintln(s.w, "sx: "+text.Field(said))
	return err
}
