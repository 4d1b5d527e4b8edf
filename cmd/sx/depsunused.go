package main

import (
	"context"
	"fmt"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/unused"
	"codeberg.org/stagex/sx/graph"
)

// unusedJSON is what sx deps --unused --json prints. It only gains fields.
type unusedJSON struct {
	File    string      `json:"file"`    // packages/core/curl/Containerfile
	Outputs []graph.Ref `json:"outputs"` // whose digests the lines must not change
	// Platforms are those that were built: another one may need a line that these do not.
	Platforms []string       `json:"platforms"`
	Lines     []unused.Found `json:"lines"` // COPY --from=stagex/…, all
}

func runUnused(ctx context.Context, a *app, args []string, asJSON bool) error {
	if len(args) != 1 {
		return usagef("sx deps --unused takes one output: sx deps --unused core-curl")
	}
	return a.inTree(ctx, nil, nil, func(s *session, _ []graph.Ref) error {
		ref, err := a.oneOutput(s.tree.Graph, args[0])
		if err != nil {
			return err
		}
		d := s.tree.Graph.Output(ref).Definition
		platforms := s.tree.Graph.Output(ref).Platforms(s.set.Build.Platforms)
		found, err := findUnused(ctx, s, d)
		if err != nil {
			return err
		}
		file := d.Dir + "/Containerfile"
		if asJSON {
			return printJSON(a.stdout, unusedJSON{file, d.Outputs, platforms, append([]unused.Found{}, found...)})
		}
		n := 0
		for _, f := range found {
			if f.Unused {
				n++
				fmt.Fprintf(a.stdout, "%s:%d: %s\n", file, f.Line.Line, text.Field(f.Text))
			}
		}
		fmt.Fprintf(a.stderr, "sx: %d of %s can go, built for %s\n", n, count(len(found), "line"), strings.Join(platforms, ", "))
		return nil
	})
}

// findUnused tries which lines of a definition's Containerfile can go, and tells about each on
// stderr.
func findUnused(ctx context.Context, s *session, d *graph.Definition) (found []unused.Found, err error) {
	if _, only := s.set.Embedded(); !only {
		return nil, usagef("sx deps --unused needs an engine state that it can delete, so it works on the embedded engine only: set SX_ENGINE_ADDRESS=embedded")
	}
	b := &unused.Bench{Store: s.tree.Store}
	var known []string
	for _, ref := range d.Outputs {
		o := s.tree.Graph.Output(ref)
		job, err := driver.ShellJob(s.view, o, s.set.Build.Platforms)
		if err != nil {
			return nil, err
		}
		b.Jobs = append(b.Jobs, job)
		if l, err := s.view.Check(o); err == nil {
			known = append(known, l.Index.String())
		}
	}
	err = onOwnEngine(ctx, s, func(builder *buildkit.Builder) error {
		b.Builder = builder
		fmt.Fprintf(s.stderr, "sx: building %s with all lines\n", names(d.Outputs))
		lines, err := b.Prepare(ctx, known)
		if err != nil || len(lines) == 0 {
			return err
		}
		fmt.Fprintf(s.stderr, "sx: building without each of %s\n", count(len(lines), "line"))
		found, err = unused.Search(ctx, lines, capacity(s.set).Jobs, b.Try, func(f unused.Found) { sayFound(s, d, f) })
		return err
	})
	return found, err
}

func sayFound(s *session, d *graph.Definition, f unused.Found) {
	said := "can go"
	switch {
	case f.Alone:
		said = "can go " + f.Why
	case f.Why != "":
		said = "is needed: " + f.Why
	}
	fmt.Fprintf(s.stderr, "sx: %s/Containerfile:%d: stagex/%s %s\n", d.Dir, f.Line.Line, text.Field(f.From), text.Field(said))
}
