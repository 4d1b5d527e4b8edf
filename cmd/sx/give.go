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
}

const anyTool = "auto" // --import without a value

func (o *giveOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.push, "push", "", "then push the selected outputs to `REGISTRY/NAMESPACE`, as sx push does")
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
	case o.push == "":
		return nil
	case offline:
		return usagef("--offline and --push exclude each other")
	}
	_, err := parseTo(o.push, nil)
	return err
}

// give gives the targets of a run that ended with err to whom the options say: of
// them what is up to date and no MISMATCH; after a Ctrl-C, nothing.
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
	refs, jerr := fitToGive(a, t, report)
	if jerr != nil || len(refs) == 0 {
		return errors.Join(err, jerr)
	}
	var given error
	if o.into != "" {
		tool := o.into
		if tool == anyTool {
			tool = ""
		}
		given = importRefs(ctx, a, t, refs, tool, false)
	}
	if o.push != "" {
		to, perr := preseed.ParseRegistry(o.push)
		if perr == nil {
			perr = pushRefs(ctx, a, t, set, refs, to, nil)
		}
		given = errors.Join(given, perr)
	}
	return errors.Join(err, given)
}

// fitToGive lists the targets that nobody should be kept from.
func fitToGive(a *app, t *build.Tree, report *build.Report) ([]graph.Ref, error) {
	j, done := newJudge(t)
	defer done()
	told := toTell(report)
	var refs []graph.Ref
	for _, ref := range report.Plan.Targets {
		if told[ref] == lost {
			continue
		}
		if v := j.Judge(ref); v.Word == build.Mismatch {
			fmt.Fprintf(a.stderr, "sx: %s is MISMATCH, and given to nobody\n", ref)
			continue
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
