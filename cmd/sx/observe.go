package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	keptruns "codeberg.org/stagex/sx/cmd/internal/report/runs"
	"codeberg.org/stagex/sx/cmd/internal/report/trace"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// observers returns what a run tells its events to besides the display: the kept run, if
// the command keeps one, and traces if they are asked for.
func (s *session) observers(ctx context.Context, id string) (all []func(events.Event)) {
	if !s.unkept {
		kept := keptruns.NewRecorder(id, func() (string, error) { return s.tree.Store.Folder("runs") })
		all = append(all, kept.Observe)
	}
	engine, before := &trace.Engine{}, len(all)
	if s.trace != "" {
		all = append(all, trace.ToFile(id, s.trace, engine, s.warnTrace))
	}
	if otlp := trace.ToCollector(context.WithoutCancel(ctx), id, os.Getenv, engine, s.warnTrace); otlp != nil {
		all = append(all, otlp)
	}
	if len(all) > before {
		s.span, s.spans = trace.Span(ctx, id, os.Getenv), engine.Add
	}
	return all
}

// warnTrace says that a trace was lost, which fails no run.
func (s *session) warnTrace(err error) {
	fmt.Fprintln(s.stderr, "sx: warning: "+text.Field(err.Error()))
}

// typed returns the command line of this process for people, without what may be secret in
// URLs: it is kept with the run, and shown in pages and traces.
func typed(args []string) string {
	words := []string{"sx"}
	for _, arg := range args {
		arg = text.Redact(arg)
		if arg == "" || strings.ContainsAny(arg, " '\"*?[]{}$&|;<>()`\\!#~\n\t") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// newRunID names the run that begins now.
func newRunID() string { return keptruns.NewID(time.Now()) }
