package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// deliverOptions are the flags that send built outputs to a registry, docker or podman.
type deliverOptions struct {
	push    registryFlag
	into    toolFlag
	moveTag bool
}

func (o *deliverOptions) addFlags(c *cobra.Command) {
	c.Flags().Var(&o.push, "push", "then push the selected outputs there, like sx push --to")
	c.Flags().BoolVar(&o.moveTag, "move-tag", false, "with --push, move tags that name other images")
	addToolFlag(c, &o.into, "import", "then load the selected outputs into docker or podman, like sx import --into")
	c.Flags().Lookup("import").NoOptDefVal = anyTool
}

func (o deliverOptions) check(dryRun, offline bool) error {
	switch {
	case dryRun && (o.push.given() || o.into != ""):
		return usagef("--push and --import cannot be combined with --dry-run")
	case o.moveTag && !o.push.given():
		return usagef("--move-tag goes with --push")
	case offline && o.push.given():
		return usagef("--offline and --push exclude each other")
	}
	return nil
}

// deliver imports and pushes the targets of a run, as the options say, and joins err,
// how the run ended, with its own errors. It leaves out what failed; it imports all but
// MISMATCH, and pushes by the rules of sx push. After a Ctrl-C it does nothing.
func (o deliverOptions) deliver(ctx context.Context, s *session, report *driver.Report, err error) error {
	if !o.push.given() && o.into == "" {
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
	into, push, refused := o.fit(report)
	given := []error{err}
	for _, r := range refused {
		if o.into != "" && r.Word == verdict.Mismatch {
			fmt.Fprintf(s.stderr, "sx: not imported: %s is MISMATCH\n", r.Ref)
		}
	}
	if o.into != "" && len(into) > 0 {
		given = append(given, importRefs(ctx, s, into, o.into.name(), false))
	}
	if o.push.given() && len(push) > 0 {
		given = append(given, pushRefs(ctx, s, push, o.push.Registry, pushFlags{moveTag: o.moveTag}))
	}
	if o.push.given() && len(refused) > 0 {
		given = append(given, refusedToPush(refused))
	}
	return errors.Join(given...)
}

// fit lists which targets of a run may be imported, which may be pushed, and which may
// not, with the reason. Targets that failed are in none of the lists.
func (o deliverOptions) fit(report *driver.Report) (into, push []graph.Ref, refused []publish.Refusal) {
	j, done := panel.Own(report.View)
	defer done()
	told := reportedRefs(report)
	var refs []graph.Ref
	for _, ref := range report.Plan.Targets {
		if told[ref] != lost {
			refs = append(refs, ref)
		}
	}
	push, _, refused = publish.Publishable(j, refs, false)
	for _, ref := range refs {
		isMismatch := func(r publish.Refusal) bool { return r.Ref == ref && r.Word == verdict.Mismatch }
		if !slices.ContainsFunc(refused, isMismatch) {
			into = append(into, ref)
		}
	}
	return into, push, refused
}
