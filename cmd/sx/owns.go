package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/inspect"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

func newOwnsCommand(a *app) *cobra.Command {
	var json bool
	c := &cobra.Command{
		Use:   "owns FILE...",
		Short: "Print which outputs have a file",
		Long: `Prints the outputs in out/ whose image has a file, one "output path" per line. FILE is a
path (/usr/bin/curl), a name in any folder (curl), or a pattern of either ('*.so',
'/usr/lib/*.pc'). Folders are not searched for.

The paths of all images are kept in .sx/memory. A new or changed image is read once; of the
others only the digest is looked at. Nothing is built or downloaded: outputs that are not
in out/ are counted on stderr, and may have the file too.`,
		Example: `  sx owns /usr/bin/curl
  sx owns 'libcurl.so*'
  sx owns curl --json | jq -r '.files[].ref'`,
		Annotations: ownWords(codes(exitFailed, exitMachine), map[int]string{
			exitOK: "at least one output has it", exitFailed: "no output in out/ has it, or sx itself failed",
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name a file: sx owns /usr/bin/curl")
			}
			return runOwns(c.Context(), a, args, json)
		},
	}
	addJSONFlag(c, &json, "the files, and how many outputs were searched")
	return c
}

// ownsJSON is what sx owns --json prints. It only gains fields.
type ownsJSON struct {
	Files    []inspect.Owned `json:"files"`
	Searched int             `json:"searched"` // outputs
	Absent   []graph.Ref     `json:"absent"`   // outputs that are not in out/
	Unread   []graph.Ref     `json:"unread"`   // outputs whose image is damaged
}

func runOwns(ctx context.Context, a *app, queries []string, asJSON bool) error {
	v, _, err := a.open(ctx, nil, false)
	if err != nil {
		return err
	}
	defer v.Close()
	found := ownsJSON{Files: []inspect.Owned{}, Absent: []graph.Ref{}, Unread: []graph.Ref{}}
	index, err := fileIndex(ctx, a, v, &found)
	if err != nil {
		return err
	}
	for _, q := range queries {
		if err := index.Find(q, func(o inspect.Owned) { found.Files = append(found.Files, o) }); err != nil {
			return usageError{err}
		}
	}
	if err := printOwns(a, found, asJSON); err != nil {
		return err
	}
	if len(found.Files) == 0 {
		return codeError(exitFailed)
	}
	return nil
}

func printOwns(a *app, found ownsJSON, asJSON bool) error {
	if n := len(found.Absent); n > 0 {
		fmt.Fprintf(a.stderr, "sx: searched %s; %d are not in out/\n", count(found.Searched, "output"), n)
	}
	if asJSON {
		return printJSON(a.stdout, found)
	}
	w := bufio.NewWriter(a.stdout)
	for _, f := range found.Files {
		fmt.Fprintf(w, "%s  %s\n", f.Output, text.Field(f.Path))
	}
	return w.Flush()
}

// fileIndex returns the index of the files of all images in out/, after reading those that
// it does not know.
func fileIndex(ctx context.Context, a *app, v *tree.View, found *ownsJSON) (*inspect.Index, error) {
	index, err := inspect.LoadIndex(v.Store.MemoryHome())
	if err != nil {
		v.Log.Debug(err.Error())
	}
	var held []string
	var unknown []graph.Ref
	for _, o := range v.Graph.Outputs() {
		l, err := v.Layout(o)
		if errors.Is(err, fs.ErrNotExist) {
			found.Absent = append(found.Absent, o.Ref)
			continue
		}
		held = append(held, o.String())
		if err != nil || !index.Has(o.String(), l.Digest()) {
			unknown = append(unknown, o.Ref)
		}
	}
	index.Keep(held)
	found.Searched = len(held)
	failed := readPaths(ctx, v.Store, index, unknown)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, ref := range unknown { // one that cannot be read keeps no other from being searched
		if failed[i] != nil {
			a.warnOf(fmt.Errorf("%s is not searched: %w", ref, failed[i]))
			found.Unread = append(found.Unread, ref)
			found.Searched--
		}
	}
	if err := index.Save(); err != nil { // the next run takes longer, no more
		a.warnOf(err)
	}
	return index, nil
}

// readPaths puts the paths of the images of refs into the index, and returns for each why it
// cannot be read, or nil.
func readPaths(ctx context.Context, store *cache.Store, index *inspect.Index, refs []graph.Ref) []error {
	read := make([]struct {
		digest oci.Digest
		paths  []string
	}, len(refs))
	failed := make([]error, len(refs))
	var group errgroup.Group
	group.SetLimit(readAtOnce)
	for i, ref := range refs {
		group.Go(func() error {
			read[i].digest, read[i].paths, failed[i] = imagePaths(ctx, store, ref)
			return nil
		})
	}
	group.Wait()
	for i, ref := range refs {
		if failed[i] != nil {
			index.Drop(ref.String())
		} else {
			index.Put(ref.String(), read[i].digest, read[i].paths)
		}
	}
	return failed
}

func imagePaths(ctx context.Context, store *cache.Store, ref graph.Ref) (oci.Digest, []string, error) {
	stored, err := store.Image(ref.String())
	if err != nil {
		return oci.Digest{}, nil, err
	}
	defer stored.Close()
	img, err := imageFor(stored, "")
	if err != nil {
		return oci.Digest{}, nil, err
	}
	paths, err := inspect.Paths(ctx, img.Image)
	return stored.Digest(), paths, err
}

// readAtOnce is how many images are read at once: reading is limited by the processors.
const readAtOnce = 4
