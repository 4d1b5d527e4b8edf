package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/load"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// giveOptions say whom a build gives the selected outputs to.
type giveOptions struct {
	push, into string
	moveTag    bool
}

const anyTool = "auto" // --import without a value

func (o *giveOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.push, "push", "", "then push the selected outputs to `REGISTRY/NAMESPACE`, as sx push does")
	f.BoolVar(&o.moveTag, "move-tag", false, "with --push: let tags that stand for other images move")
	f.StringVar(&o.into, "import", "", "then give the selected outputs to docker or podman (`TOOL`, default docker), as sx import does")
	f.Lookup("import").NoOptDefVal = anyTool
}

func (o giveOptions) check(dryRun, offline bool) error {
	if o.into != "" && o.into != anyTool && !slices.Contains(load.Tools, o.into) {
		return usagef("--import=%s: it is docker or podman", o.into)
	}
	switch {
	case dryRun && (o.push != "" || o.into != ""):
		return usagef("--push and --import do not go with --dry-run")
	case o.moveTag && o.push == "":
		return usagef("--move-tag goes with --push")
	case o.push == "":
		return nil
	case offline:
		return usagef("--offline and --push exclude each other")
	}
	_, err := parseTo(o.push, nil)
	return err
}

// give gives the targets of a run that ended with err to whom the options say: of
// them what did not fail, to docker unless it is MISMATCH, to a registry by the rules of
// sx push; after a Ctrl-C, nothing.
func (o giveOptions) give(ctx context.Context, a *app, t *build.Tree, set settings.Settings, report *build.Report, err error) error {
	if o.push == "" && o.into == "" {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first := drainOf(ctx)
	select {
	case <-first:
		return err
	case <-ctx.Done():
		return err
	default:
	}
	defer onFirst(first, func() { cancel(signalError{exitInterrupt}) })()
	into, push, refused := o.fit(t, report)
	given := []error{err}
	for _, r := range refused {
		if o.into != "" && r.Word == build.Mismatch {
			fmt.Fprintf(a.stderr, "sx: %s is MISMATCH, and not imported\n", r.Ref)
		}
	}
	if o.into != "" && len(into) > 0 {
		tool := o.into
		if tool == anyTool {
			tool = ""
		}
		given = append(given, importRefs(ctx, a, t, into, tool, false))
	}
	if o.push != "" && len(push) > 0 {
		to, err := preseed.ParseRegistry(o.push)
		if err == nil {
			err = pushRefs(ctx, a, t, set, push, to, pushFlags{moveTag: o.moveTag})
		}
		given = append(given, err)
	}
	if o.push != "" && len(refused) > 0 {
		given = append(given, refusedToPush(refused))
	}
	return errors.Join(given...)
}

// fit lists the targets of a run that did not fail: which of them go into docker,
// which to a registry, and which do not, and why.
func (o giveOptions) fit(t *build.Tree, report *build.Report) (into, push []graph.Ref, refused []build.Refusal) {
	j, done := newJudge(t)
	defer done()
	told := toTell(report)
	var refs []graph.Ref
	for _, ref := range report.Plan.Targets {
		if told[ref] != lost {
			refs = append(refs, ref)
		}
	}
	push, _, refused = t.Fit(j, refs, false)
	for _, ref := range refs {
		isMismatch := func(r build.Refusal) bool { return r.Ref == ref && r.Word == build.Mismatch }
		if !slices.ContainsFunc(refused, isMismatch) {
			into = append(into, ref)
		}
	}
	return into, push, refused
}
