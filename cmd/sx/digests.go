package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

type digestsOptions struct {
	scope                      scope
	write, force, dryRun, json bool
	diff                       string // a git revision
}

func newDigestsCommand(a *app) *cobra.Command {
	var o digestsOptions
	c := &cobra.Command{
		Use:   "digests [SELECTOR...]",
		Short: "Print the digests of the outputs in out/, or write them to digests/",
		Long: `Prints a line "<digest> <output>" for each selected output in out/, in the format of
digests/.

--write replaces the lines of the selected outputs in digests/ (without selectors: of
all that this machine built) and keeps the others. It drops lines of outputs that the
tree does not have, unless a definition might have them that is skipped (a symbolic
link) or broken; with a broken one the exit code is 2. It refuses outputs that were not
built here, are not up to date, or are for another platform, and without --force outputs
that are MISMATCH or UNPROVEN. If it refuses a selected output it writes nothing;
without selectors it keeps the lines of the refused ones. stderr lists each replaced
line, old and new, and each dropped line. The exit code is 3 if the line of an output
that is MISMATCH was kept. A file of digests/ that cannot be read whole is never
rewritten; then the exit code is 2.

--diff prints the lines of digests/ that are not in digests/ at a commit, by default at
HEAD. This is what upstream asks for in a pull request, and what make new-digests prints.
out/ is not read.`,
		Example: `  sx digests | sort
  sx digests core-curl --write && git diff digests/
  sx digests --diff=main   # the lines that a pull request changes`,
		Annotations:       codes(exitFailed, exitMismatch, exitMachine, exitUnproven),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c, args); err != nil {
				return err
			}
			return a.inTree(c.Context(), nil, args, func(s *session, refs []graph.Ref) error {
				warnOfStrayDigests(a, s.tree)
				if o.diff != "" {
					return printDigestsDiff(a, s.tree, refs, len(args) == 0, o)
				}
				found, damaged, err := listed(s.view, refs, len(args) == 0)
				if err != nil {
					return err
				}
				if !o.write {
					return errors.Join(printDigests(a, found, o.json), damaged)
				}
				return errors.Join(writeDigests(a, s.view, found, len(args) == 0, o), damaged)
			})
		},
	}
	o.scope.addFlag(c)
	c.Flags().BoolVar(&o.write, "write", false, "rewrite digests/<stage>.txt, and print the lines that changed")
	c.Flags().BoolVar(&o.force, "force", false, "with --write, also replace lines by MISMATCH or UNPROVEN outputs")
	c.Flags().StringVar(&o.diff, "diff", "", "print the lines of digests/ that are not in those of `REF`, a branch, tag or commit")
	c.Flags().Lookup("diff").NoOptDefVal = "HEAD"
	addDryRunFlag(c, &o.dryRun)
	addJSONFlag(c, &o.json, "output and digest of each line; with --write and --diff, also the old digest")
	return c
}

func (o digestsOptions) check(c *cobra.Command, selectors []string) error {
	switch {
	case o.force && !o.write:
		return usagef("--force goes with --write")
	case o.dryRun && !o.write:
		return usagef("--dry-run goes with --write")
	case o.diff != "" && o.write:
		return usagef("--diff and --write exclude each other: write first, then run sx digests --diff")
	}
	return o.scope.check(c, selectors)
}

// warnOfStrayDigests names the files of digests/ that are of no stage.
func warnOfStrayDigests(a *app, t *tree.Tree) {
	stray := cache.StrayDigests(t.FS)
	for i, name := range stray {
		if i == maxStrayDigests {
			fmt.Fprintf(a.stderr, "sx: warning: so are %d more\n", len(stray)-i)
			return
		}
		fmt.Fprintf(a.stderr, "sx: warning: digests/%s is of no stage (%s): its lines do not count\n", text.Field(name), strings.Join(graph.Stages, ", "))
	}
}

// maxStrayDigests is how many files that are of no stage, or lines of skipped
// definitions, are named.
const maxStrayDigests = 5

// listed returns the digests of those of refs that out/ has. all says that refs are the
// whole tree, so that a missing output is not an error. damaged names the outputs that
// cannot be read; they do not keep the others from being listed.
func listed(v *tree.View, refs []graph.Ref, all bool) (found []publish.Listed, damaged, err error) {
	found, missing, unread := publish.Digests(v, refs)
	for _, r := range unread {
		damaged = errors.Join(damaged, fmt.Errorf("out/%s is damaged: %s; sx build %s repairs it", r.Ref, r.Reason, r.Ref))
	}
	switch {
	case !all && len(missing) > 0:
		return nil, nil, fmt.Errorf("out/ has no %s: build it first (sx build %s)", missing[0], missing[0])
	case len(found) == 0 && damaged != nil:
		return nil, nil, damaged
	case len(found) == 0:
		return nil, nil, errors.New("out/ holds no output of this tree: nothing to list")
	}
	return found, damaged, nil
}

// listedJSON is a line as `sx digests --json` prints it. It only gains fields.
type listedJSON struct {
	Ref    string      `json:"ref"`
	Digest *oci.Digest `json:"digest,omitempty"` // none: the line is dropped
	Old    *oci.Digest `json:"old,omitempty"`    // with --write; none: the line is new
}

func printDigests(a *app, found []publish.Listed, asJSON bool) error {
	if asJSON {
		all := []listedJSON{}
		for _, l := range found {
			all = append(all, listedJSON{Ref: l.Ref.String(), Digest: orNoDigest(l.Digest)})
		}
		return printJSON(a.stdout, map[string]any{"digests": all})
	}
	w := bufio.NewWriter(a.stdout)
	for _, l := range found {
		fmt.Fprintf(w, "%s %s\n", l.Digest.Hex(), l.Ref)
	}
	return w.Flush()
}

// writeDigests rewrites digests/. If an output may not be listed: with selectors that is
// an error, without them its line is kept and reported.
func writeDigests(a *app, v *tree.View, found []publish.Listed, all bool, o digestsOptions) error {
	var refs []graph.Ref
	for _, l := range found {
		refs = append(refs, l.Ref)
	}
	var unread error
	if all {
		unread = v.AllUnreadError()
		refs = slices.DeleteFunc(refs, func(ref graph.Ref) bool { return v.UnreadStage(ref.Stage) != nil })
	}
	if unread != nil && len(refs) == 0 {
		return unread
	}
	j, done := panel.Own(v)
	defer done()
	write := publish.WriteDigests
	if o.dryRun {
		write = func(j *verdict.Judge, refs []graph.Ref, force bool) ([]publish.Line, error) {
			_, changed, err := publish.NewDigests(j, refs, force)
			return changed, err
		}
	}
	changed, err := write(j, refs, o.force)
	var refused *publish.RefusedError
	kept := errors.As(err, &refused) && all && len(refused.Refusals) < len(refs)
	if kept {
		for _, r := range refused.Refusals {
			fmt.Fprintf(a.stderr, "sx: %s keeps its line: %s\n", r.Ref, text.Field(r.Reason))
			refs = slices.DeleteFunc(refs, func(ref graph.Ref) bool { return ref == r.Ref })
		}
		changed, err = write(j, refs, o.force)
	}
	if err != nil {
		return err
	}
	if err := printLines(a, changed, o); err != nil {
		return err
	}
	printKept(a.stderr, v.Tree)
	if kept && refused.Has(verdict.Mismatch) {
		fmt.Fprintln(a.stderr, "sx: "+refused.Remedy)
		return errors.Join(codeError(exitMismatch), unread)
	}
	return unread
}

// printKept names the lines that stay for outputs of skipped definitions.
func printKept(w io.Writer, t *tree.Tree) {
	n := 0
	for _, l := range publish.UnknownLines(t) {
		if l.Skipped == "" {
			continue
		}
		if n++; n <= maxStrayDigests {
			fmt.Fprintf(w, "sx: %s keeps its line: %s\n", l.Name, text.Field(l.Skipped))
		}
	}
	if n > maxStrayDigests {
		fmt.Fprintf(w, "sx: so do %d more\n", n-maxStrayDigests)
	}
}

// printLines prints the changed lines of digests/: the new ones on stdout, old and new on
// stderr.
func printLines(a *app, changed []publish.Line, o digestsOptions) error {
	w := a.stdout
	if o.json {
		w = io.Discard
		all := []listedJSON{}
		for _, l := range changed {
			all = append(all, listedJSON{l.Name, orNoDigest(l.New), orNoDigest(l.Old)})
		}
		if err := printJSON(a.stdout, map[string]any{"digests": all}); err != nil {
			return err
		}
	}
	for _, l := range changed {
		switch {
		case l.New.IsZero():
			fmt.Fprintf(a.stderr, "sx: %s: %s dropped%s\n", l.Name, l.Old.Hex(), o.dropped())
			continue
		case l.Old.IsZero():
			fmt.Fprintf(a.stderr, "sx: %s: new, %s\n", l.Name, l.New.Hex())
		default:
			fmt.Fprintf(a.stderr, "sx: %s: %s → %s\n", l.Name, l.Old.Hex(), l.New.Hex())
		}
		fmt.Fprintf(w, "%s %s\n", l.New.Hex(), l.Name)
	}
	fmt.Fprintf(a.stderr, "sx: %s of digests/ %s\n", count(len(changed), "line"), o.happened())
	return nil
}

// dropped says why a line is dropped, if that is known.
func (o digestsOptions) dropped() string {
	if o.diff != "" {
		return ""
	}
	return ", the tree has no such output"
}

// happened says what the lines are that [printLines] counts.
func (o digestsOptions) happened() string {
	switch {
	case o.diff != "":
		return "changed since " + text.Field(o.diff)
	case o.dryRun:
		return "would change"
	}
	return "changed"
}

// printDigestsDiff prints the lines of digests/ that the revision o.diff does not have:
// those of refs and, with all, those that are gone.
func printDigestsDiff(a *app, t *tree.Tree, refs []graph.Ref, all bool, o digestsOptions) error {
	was, err := panel.AtRevision(t, o.diff)
	if err != nil {
		return fmt.Errorf("--diff %w", err)
	}
	names := map[string]bool{}
	for _, ref := range refs {
		names[ref.String()] = true
	}
	if all {
		for name := range t.Published {
			names[name] = true
		}
		for name := range was {
			names[name] = true
		}
	}
	var changed []publish.Line
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if was[name] != t.Published[name] && t.Unread(name) == nil {
			changed = append(changed, publish.Line{Name: name, Old: was[name], New: t.Published[name]})
		}
	}
	unread := t.UnreadError(refs)
	if all {
		unread = t.AllUnreadError()
	}
	return errors.Join(printLines(a, changed, o), unread)
}

func orNoDigest(d oci.Digest) *oci.Digest {
	if d.IsZero() {
		return nil
	}
	return &d
}
