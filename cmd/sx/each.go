package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// onEach are the engines of --on-each, each of which builds every output.
type onEach []string

func (o *onEach) addFlag(f *pflag.FlagSet) {
	f.StringSliceVar((*[]string)(o), "on-each", nil, "build each output on all of these `ENGINES`, names or addresses with commas between them, and require equal results")
	group(f, groupEngine, "on-each")
}

// set makes them the engines of the settings.
func (o onEach) set(flags map[string]string) error {
	if o == nil {
		return nil
	}
	if _, ok := flags["engine.address"]; ok {
		return usagef("--engine and --on-each exclude each other")
	}
	if flags["engine.hub"] != "" {
		return usagef("--hub and --on-each exclude each other: results are compared here")
	}
	if len(o) < 2 {
		return usagef("--on-each wants two engines or more, with commas between them (--on-each embedded,ssh://builder)")
	}
	flags["engine.address"] = strings.Join(o, " ")
	return nil
}

// printDisagreement writes what each engine built of an output, where the results are, and
// the first file in which they differ.
func printDisagreement(w io.Writer, e *driver.DifferError) {
	fmt.Fprintf(w, "sx: differs  %s: the engines do not agree; out/%s is as it was\n", e.Ref, e.Ref)
	for _, r := range e.Results {
		fmt.Fprintf(w, "             %s built %s: %s\n", text.Field(r.Engine.String()), r.Manifest, text.Field(r.Path))
	}
	a, b := e.Apart()
	for _, line := range firstDifference(a.Path, b.Path) {
		fmt.Fprintf(w, "             | %s\n", line)
	}
	fmt.Fprintf(w, "             what differs: sx diff %s %s\n", text.Field(a.Path), text.Field(b.Path))
}

// firstDifferenceTime bounds the search for the first difference: sx diff has more time.
const firstDifferenceTime = 20 * time.Second

// firstDifference returns the first file that differs, or else the first difference, in
// the words of sx diff; none if it was not found in time.
func firstDifference(a, b string) (lines []string) {
	ctx, cancel := context.WithTimeout(context.Background(), firstDifferenceTime)
	defer cancel()
	x, err := imagediff.Open(ctx, a)
	if err != nil {
		return nil
	}
	defer x.Close()
	y, err := imagediff.Open(ctx, b)
	if err != nil {
		return nil
	}
	defer y.Close()
	var first *imagediff.Difference
	enough := errors.New("enough")
	imagediff.Compare(ctx, x.Image, y.Image, imagediff.Options{}, func(d imagediff.Difference) error {
		if file := d.Layer > 0 && d.Path != ""; first == nil || file {
			first = &d
			if file {
				return enough
			}
		}
		return nil
	})
	if first == nil {
		return nil
	}
	var said strings.Builder
	imagediff.NewText(&said).Difference(*first)
	for line := range strings.Lines(said.String()) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
