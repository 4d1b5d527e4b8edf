package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/ci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/signers"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

const verdictHelp = `  MATCH        built here from the tree's present definitions; the digest is as published
  MISMATCH     built here from the tree's present definitions, which have not changed
               since digests/ did; the digest differs. "tainted by X" instead: so does
               that of X, which it was built from
  CHANGED      built here; the digest differs, and definitions changed since digests/ did
  UNPROVEN     in out/, but not built here, or it or an input was built from definitions
               other than the present ones, or its line in digests/ cannot be read
  MISSING      not in out/
  UNPUBLISHED  digests/ has no line for it`

func newVerifyCommand(a *app) *cobra.Command {
	var sc scope
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [SELECTOR... | IMAGE@sha256:DIGEST...]",
		Short: "Compare out/ with the published digests",
		Long: `Hashes every blob of the selected outputs, or of the whole tree, and prints a verdict
on each:

` + verdictHelp + `

"MATCH given <n> unproven inputs" depends on n outputs that are not MATCH themselves;
"MATCH (on A, B)" on the word of the engines elsewhere that built it or its inputs.
The sources of the outputs in fetch/ are hashed too. Damage is remembered: the next sx
build builds the output again, the next sx fetch downloads the source again. Without
selectors, lines of digests/ whose output the tree does not have are listed. The exit
code is 0 only if all are MATCH, no source is damaged and there is no such line; it is
3 if any is MISMATCH, else 8.

--signatures also prints who signed each digest, of the people whose keys you trust
(sx keys), and why each other signature file does not count. The exit code is 4 if
fewer than signatures.quorum people signed one of the digests, unless another code
takes precedence. An image given by its digest is checked without a tree.

--against compares with published digests from elsewhere than the tree's digests/: MATCH
is then MATCH (against SOURCE). CHANGED is possible only against a branch or tag. If
sources disagree on an output, each has a verdict of its own.

--write-policy writes the files with which podman and skopeo check signatures themselves.`,
		Example: `  sx verify
  sx verify pallet-rust
  sx verify --signatures --signatures-from ../signatures
  sx verify --signatures docker.io/stagex/pallet-rust@sha256:0123…`,
		Annotations:       codes(exitFailed, exitMismatch, exitUnsigned, exitFetch, exitMachine, exitUnproven),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sc.check(c, args); err != nil {
				return err
			}
			if err := o.check(args); err != nil {
				return err
			}
			o.all = len(args) == 0
			return runVerify(c.Context(), a, args, o)
		},
	}
	sc.addFlag(c)
	addJSONFlag(c, &o.json, "each verdict with its evidence, and how many there are of each")
	o.addFlags(c.Flags())
	return c
}

// verifyOptions are the flags of sx verify.
type verifyOptions struct {
	all        bool // the whole tree is selected, and so all that digests/ should list
	json       bool
	signed     bool
	signatures signatureOptions
	policy     string
	require    []string
	against    againstFlag
	panel      *panel.Panel        // judges
	signers    *signers.Background // looks up signatures; nil without --signatures
	ci         ciOptions
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.signed, "signatures", false, "print who signed each digest")
	o.signatures.addFlags(f)
	f.StringVar(&o.policy, "write-policy", "", "write a policy for podman and skopeo into `DIR`, and verify nothing")
	o.against.addFlag(f)
	o.ci.addFlags(f)
	f.StringSliceVar(&o.require, "require", nil, "with --write-policy: each `PERSON` of these must have signed")
}

func (o verifyOptions) check(args []string) error {
	images := 0
	for _, arg := range args {
		if isImageRef(arg) {
			images++
		}
	}
	switch {
	case o.policy != "" && (len(args) > 0 || o.signed):
		return usagef("--write-policy can be combined only with --require and --signatures-from")
	case len(o.require) > 0 && o.policy == "":
		return usagef("--require goes with --write-policy")
	case o.signatures.from != "" && !o.signed && o.policy == "":
		return usagef("--signatures-from goes with --signatures or --write-policy")
	case o.policy != "" && o.json:
		return usagef("--write-policy prints nothing, so it cannot be combined with --json")
	case len(o.against) > 0 && (o.policy != "" || images > 0):
		return usagef("--against works only for outputs of a tree")
	case o.ci.junit != "" && (o.policy != "" || images > 0):
		return usagef("--junit works only for outputs of a tree")
	case images > 0 && images < len(args):
		return usagef("outputs of a tree and images by digest cannot be combined")
	case images > 0 && !o.signed:
		return usagef("for an image by its digest only signatures can be checked: add --signatures")
	}
	return nil
}

func runVerify(ctx context.Context, a *app, args []string, o verifyOptions) error {
	switch {
	case o.policy != "":
		return writePolicy(a, o.policy, o.require, o.signatures)
	case len(args) > 0 && (isImageRef(args[0]) || o.signed && strings.Contains(args[0], "/")):
		return verifyImages(ctx, a, args, o)
	}
	return a.inTree(ctx, nil, args, func(s *session, refs []graph.Ref) error {
		warnOfStrayDigests(a, s.tree)
		p, err := o.against.panel(ctx, s.tree, s.set)
		if err != nil {
			return err
		}
		defer p.Close()
		o.panel = p
		if !o.signed {
			return verifyRefs(ctx, a, s.view, refs, o)
		}
		return o.signatures.inBackground(s.tree, s.set, func(b *signers.Background) error {
			o.signers = b
			return verifyRefs(ctx, a, s.view, refs, o)
		})
	})
}

// verifyRefs prints the verdicts on refs, checks their sources, and returns the exit
// code as an error.
func verifyRefs(ctx context.Context, a *app, view *tree.View, refs []graph.Ref, o verifyOptions) error {
	lines := a.stdout
	if o.json {
		lines = io.Discard
	}
	meter := meterOf(a, view, len(refs))
	vs, results, unsigned, err := o.judge(ctx, view, refs, meter.Above(lines))
	if err != nil {
		meter.Close()
		return err
	}
	wrong, err := driver.VerifySources(ctx, view.Tree, definitionsOf(view.Graph, refs))
	meter.Close()
	printWrongSources(a.stderr, wrong)
	var strange []publish.Line
	if o.all {
		strange = publish.UnknownLines(view.Tree)
	}
	for _, l := range strange {
		fmt.Fprintf(a.stderr, "sx: digests/ lists %s as %s, and %s\n", l.Name, l.Old.Hex(), cmp.Or(text.Field(l.Skipped), "the tree has no such output"))
	}
	counts := printCounts(lines, vs)
	err = errors.Join(err, tellCI(a, o.ci, view.Dir, func() ci.Report { return ciOfVerdicts(vs) }))
	for _, v := range vs {
		if v.Word == verdict.Mismatch && !o.json {
			printDiffers(a.stderr, v)
		}
	}
	if o.json {
		err = errors.Join(err, printJSON(a.stdout, map[string]any{
			"outputs": verdictsJSON(vs, results), "counts": counts, "damaged_sources": pathsOf(wrong), "unknown_outputs": namesOf(strange),
		}))
	}
	err = errors.Join(err, unsigned, o.unread(view.Tree, refs))
	switch {
	case counts[verdict.Mismatch] > 0:
		return errors.Join(err, codeError(exitMismatch))
	case len(vs) == 0 || allFull(vs) < len(vs) || len(wrong) > 0 || len(strange) > 0:
		return errors.Join(err, codeError(exitUnproven))
	}
	return err
}

// meterOf shows on a terminal how much of so many outputs and their sources was hashed.
func meterOf(a *app, view *tree.View, outputs int) *progress.Meter {
	var opts progress.Options
	if a.verbose { // whose lines would break it
		opts.Mode = progress.Plain
	}
	return progress.NewMeter(a.stderr, opts, func() string {
		return fmt.Sprintf("verifying %s: %s hashed", count(outputs, "output"), text.Bytes(view.Store.Stats().Hashed()))
	})
}

// unread returns an error about what of digests/ cannot be read, if that is needed.
func (o verifyOptions) unread(t *tree.Tree, refs []graph.Ref) error {
	switch {
	case len(o.against) > 0:
		return nil
	case o.all:
		return t.AllUnreadError()
	}
	return t.UnreadError(refs)
}

// judge writes a line for each verdict on refs, with --signatures also who signed: then
// results are in the order of vs, and unsigned is a code if too few people signed one.
func (o verifyOptions) judge(ctx context.Context, view *tree.View, refs []graph.Ref, w io.Writer) (vs []verdict.Verdict, results []*signers.Result, unsigned, err error) {
	if o.signers == nil {
		vs, err = o.panel.Verify(ctx, view, refs, func(v verdict.Verdict) { printVerdict(w, v) })
		return vs, nil, nil, err
	}
	vs, err = o.panel.Verify(ctx, view, refs, func(v verdict.Verdict) {
		digest := v.Got
		if digest.IsZero() { // out/ has none: look for those of the published image
			digest = v.Want
		}
		o.signers.Add(ctx, v.Ref.String(), digest)
	})
	results = o.signers.Wait()
	return vs, results, printSigned(w, vs, results, o.signers.Lookup.Quorum), err
}

// verdictJSON is a verdict as `sx verify --json` prints it. It only gains fields.
type verdictJSON struct {
	Ref       graph.Ref    `json:"ref"`
	Verdict   verdict.Word `json:"verdict"`
	Digest    *oci.Digest  `json:"digest,omitempty"`    // in out/
	Published *oci.Digest  `json:"published,omitempty"` // in digests/
	Given     int          `json:"unproven_inputs,omitempty"`
	Engine    string       `json:"engine,omitempty"` // the names of rests_on, as the verdict has them
	Note      string       `json:"note,omitempty"`
	Against   string       `json:"against,omitempty"` // with --against: where published comes from
	Next      string       `json:"next,omitempty"`    // of a MISMATCH: the command that tells more

	Signatures *signers.JSON `json:"signatures,omitempty"` // with --signatures
	// TaintedBy are the earliest divergences that explain a MISMATCH; none: its own.
	TaintedBy []graph.Ref `json:"tainted_by,omitempty"`
	enginesJSON
}

// enginesJSON are the engines of a verdict, in JSON.
type enginesJSON struct {
	RestsOn []verdict.Engine `json:"rests_on,omitempty"` // engines elsewhere whose word a MATCH rests on
	Each    []verdict.Engine `json:"each,omitempty"`     // two or more, each of which built all of it
	BuiltOn []verdict.Engine `json:"built_on,omitempty"` // engines elsewhere that the output itself was built on
}

func enginesOf(v verdict.Verdict) enginesJSON { return enginesJSON{v.Engines, v.Each, v.Builders} }

func verdictsJSON(vs []verdict.Verdict, results []*signers.Result) []verdictJSON {
	all := []verdictJSON{}
	for i, v := range vs {
		one := verdictJSON{v.Ref, v.Word, orNoDigest(v.Got), orNoDigest(v.Want), v.Given, v.On(), v.Note, v.Against, nextCommand(v), nil, v.Tainted, enginesOf(v)}
		if results != nil {
			one.Signatures = results[i].JSON()
		}
		all = append(all, one)
	}
	return all
}

func pathsOf(wrong []driver.WrongSource) []string {
	paths := []string{}
	for _, s := range wrong {
		paths = append(paths, s.Path)
	}
	return paths
}

func namesOf(lines []publish.Line) []string {
	names := []string{}
	for _, l := range lines {
		names = append(names, l.Name)
	}
	return names
}

func printWrongSources(w io.Writer, wrong []driver.WrongSource) {
	for _, s := range wrong {
		switch {
		case s.Linked:
			fmt.Fprintf(w, "sx: %s cannot be checked: %s; sx follows no link: every folder above it must be one itself\n", text.Field(s.Path), text.Field(s.Err.Error()))
			continue
		case s.Unreached:
			fmt.Fprintf(w, "sx: %s cannot be checked: %s\n", text.Field(s.Path), text.Field(s.Err.Error()))
			continue
		}
		fmt.Fprintf(w, "sx: %s is damaged or a different file: %s; sx fetch %s downloads it again\n",
			text.Field(s.Path), text.Field(s.Err.Error()), s.Definition.Outputs[0])
	}
}

func allFull(vs []verdict.Verdict) int {
	n := 0
	for _, v := range vs {
		if v.Full() {
			n++
		}
	}
	return n
}
