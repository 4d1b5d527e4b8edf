package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

type listOptions struct {
	scope scope
	json  bool
}

func newListCommand(a *app) *cobra.Command {
	var o listOptions
	c := &cobra.Command{
		Use:   "list [SELECTOR...]",
		Short: "List outputs with version, size and state",
		Long: `Lists the selected outputs, or the whole tree: name, version, the size of what out/
holds (its layers are compressed), and the verdict on it:

` + verdictHelp + `

Blobs that have not changed since sx last hashed them are not read again; sx verify
reads all of them. A "-" stands for no version and for nothing in out/.`,
		Example: `  sx list pallet
  sx list | grep -v MISSING                # what out/ holds
  sx list --json | jq -r '.outputs[] | select(.verdict == "UNPROVEN") | .ref'`,
		Annotations:       codes(exitFailed, exitMachine),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.scope.check(c, args); err != nil {
				return err
			}
			return runList(c.Context(), a, args, o)
		},
	}
	o.scope.addFlag(c)
	addJSONFlag(c, &o.json, "the same, with the size in bytes and the digest")
	return c
}

// inventoryJSON is an output as sx list --json prints it. It only gains fields.
type inventoryJSON struct {
	Ref     graph.Ref    `json:"ref"`
	Version string       `json:"version"`
	Size    int64        `json:"size"` // of the blobs in out/, in bytes
	Verdict verdict.Word `json:"verdict"`
	Given   int          `json:"given"` // unproven inputs of a MATCH
	Digest  *oci.Digest  `json:"digest"`
	Note    string       `json:"note"`
	enginesJSON
}

func runList(ctx context.Context, a *app, selectors []string, o listOptions) error {
	return a.inTree(ctx, nil, selectors, func(s *session, refs []graph.Ref) error {
		p, err := panel.New(ctx, s.tree, "", nil)
		if err != nil {
			return err
		}
		defer p.Close()
		vs := p.All(s.view, refs)
		listed := make([]inventoryJSON, len(vs))
		for i, v := range vs {
			l := inventoryJSON{v.Ref, s.tree.Graph.Output(v.Ref).Version, 0, v.Word, v.Given, nil, v.Note, enginesOf(v)}
			if v.Word != verdict.Missing {
				l.Size, _ = s.tree.Store.Size(v.Ref.String()) // a damaged one counts as far as it can be read
			}
			if !v.Got.IsZero() {
				l.Digest = &v.Got
			}
			listed[i] = l
		}
		if o.json {
			return printJSON(a.stdout, map[string]any{"outputs": listed})
		}
		return printList(a.stdout, vs, listed)
	})
}

// printList writes a line for each output, in columns.
func printList(w io.Writer, vs []verdict.Verdict, listed []inventoryJSON) error {
	names, versions := 0, 0
	for _, l := range listed {
		names = max(names, len(l.Ref.String()))
		versions = max(versions, min(len(text.Field(l.Version)), maxVersionColumn))
	}
	b := bufio.NewWriter(w)
	for i, l := range listed {
		size := "-"
		if vs[i].Word != verdict.Missing {
			size = text.Bytes(l.Size)
		}
		fmt.Fprintf(b, "%-*s  %-*s  %10s  %s", names, l.Ref, versions, cmp.Or(text.Field(l.Version), "-"), size, paintWord(vs[i]))
		if l.Note != "" {
			fmt.Fprintf(b, " (%s)", text.Field(l.Note))
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

// maxVersionColumn is how wide the column of versions gets; longer ones push the rest aside.
const maxVersionColumn = 24
