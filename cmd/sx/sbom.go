package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/sbom"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// bomFormats are the words of --format.
var bomFormats = map[bomFormat]func(sbom.BOM, io.Writer) error{
	"spdx":      sbom.BOM.WriteSPDX,
	"cyclonedx": sbom.BOM.WriteCycloneDX,
}

// bomFormat is the value of --format.
type bomFormat string

func (f *bomFormat) String() string { return string(*f) }
func (f *bomFormat) Type() string   { return "FORMAT" }

func (f *bomFormat) Set(text string) error {
	if bomFormats[bomFormat(text)] == nil {
		return fmt.Errorf("want spdx or cyclonedx, not %q", text)
	}
	*f = bomFormat(text)
	return nil
}

type sbomOptions struct {
	scope  scope
	format bomFormat
	out    bool
}

func newSBOMCommand(a *app) *cobra.Command {
	o := sbomOptions{scope: scope{required: true}, format: "spdx"}
	c := &cobra.Command{
		Use:   "sbom SELECTOR... | --all",
		Short: "Print a bill of materials of outputs and all that they are built from",
		Long: `Prints the selected outputs and their closure: names, versions, licences, digests, and
the sources of all of them with hashes and mirrors, as SPDX 2.3 or CycloneDX 1.6 in JSON,
with package URLs and with the relations between them.

Digests are those of digests/; with --out those of what is in out/. A licence is what
package.toml claims. What is inside an image is not looked at. The same tree gives the
same bytes: the time in the document is SOURCE_DATE_EPOCH, or 1970-01-01T00:00:01Z.

Nothing is printed if a selected output is broken: half a list would be no list.`,
		Example: `  sx sbom pallet-rust > rust.spdx.json
  sx sbom pallet-rust --format cyclonedx > rust.cdx.json
  sx sbom --all --out`,
		Annotations:       codes(exitFailed, exitMachine),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.scope.check(c, args); err != nil {
				return err
			}
			return runSBOM(c.Context(), a, args, o)
		},
	}
	o.scope.addFlag(c)
	c.Flags().Var(&o.format, "format", "spdx or cyclonedx")
	c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"spdx", "cyclonedx"}, cobra.ShellCompDirectiveNoFileComp))
	c.Flags().BoolVar(&o.out, "out", false, "list the digests of what is in out/, not those of digests/")
	return c
}

func runSBOM(ctx context.Context, a *app, selectors []string, o sbomOptions) error {
	created, err := sourceDate()
	if err != nil {
		return err
	}
	return a.inTreeSelecting(ctx, nil, selectors, o.scope.all, func(s *session, sel selection) error {
		if err := sel.err(); err != nil {
			return err
		}
		digests := map[string]oci.Digest(s.tree.Published)
		if o.out {
			digests, err = localDigests(s.tree, sel.refs)
		} else {
			err = s.tree.UnreadError(s.tree.Graph.Closure(sel.refs))
		}
		if err != nil {
			return err
		}
		var document bytes.Buffer
		if err := bomFormats[o.format](sbom.New(s.tree.Graph, sel.refs, digests, created), &document); err != nil {
			return err
		}
		_, err := document.WriteTo(a.stdout)
		return err
	})
}

// localDigests are those of the closure's outputs in out/.
func localDigests(t *tree.Tree, refs []graph.Ref) (map[string]oci.Digest, error) {
	digests, errs := map[string]oci.Digest{}, []error{}
	for _, ref := range t.Graph.Closure(refs) {
		l, err := t.Store.Read(ref.String())
		if errors.Is(err, fs.ErrNotExist) {
			if slices.Contains(refs, ref) {
				errs = append(errs, usagef("%s is not in out/; build it, or leave --out away", ref))
			}
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		digests[ref.String()] = l.Digest()
	}
	return digests, errors.Join(errs...)
}

// sourceDate is SOURCE_DATE_EPOCH, in seconds since 1970; without it 1, which StageX builds with.
func sourceDate() (time.Time, error) {
	text := strings.TrimSpace(os.Getenv("SOURCE_DATE_EPOCH"))
	if text == "" {
		return time.Unix(1, 0), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 253402300799 { // the end of the year 9999
		return time.Time{}, usagef("SOURCE_DATE_EPOCH: want seconds since 1970, not %.40q", text)
	}
	return time.Unix(n, 0), nil
}
