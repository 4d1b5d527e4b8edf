package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/load"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

func newImportCommand(a *app) *cobra.Command {
	var sc scope
	var pre preview
	into := toolFlag(anyTool)
	c := &cobra.Command{
		Use:   "import [SELECTOR...]",
		Short: "Load outputs into docker or podman",
		Long: `Loads the selected outputs, or all in out/, into docker or podman as
stagex/<output>:<version> and stagex/<output>:local. It runs the program in PATH, so
docker's contexts and DOCKER_HOST apply. Every blob is verified on the way.

Images keep their digests, except in a docker without the containerd image store. If an
image is for several platforms, docker keeps all of them, podman only this machine's.
The names are printed on stdout. Provenance is not checked; run sx verify first.`,
		Example: `  sx import core-hex && docker run --rm stagex/core-hex:local
  sx import pallet --into podman`,
		Annotations:       codes(exitFailed, exitMachine),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(sc.check(c, args), pre.check()); err != nil {
				return err
			}
			return a.inTree(c.Context(), nil, args, func(s *session, refs []graph.Ref) error {
				if pre.dryRun {
					return wouldImport(a.stdout, s.tree, refs, len(args) == 0, pre.json)
				}
				return importRefs(c.Context(), s, refs, into.name(), len(args) == 0)
			})
		},
	}
	sc.addFlag(c)
	pre.addFlags(c, "the name and the digest of each image")
	addToolFlag(c, &into, "into", "docker, podman, or auto: docker if it answers, else podman")
	return c
}

// wouldImport prints the names that the images would get. With all, refs are the whole
// tree, and a missing output is not an error.
func wouldImport(w io.Writer, t *tree.Tree, refs []graph.Ref, all, asJSON bool) error {
	images := []namedJSON{}
	var bad []error
	for _, ref := range refs {
		img, err := t.Image(ref)
		if absent := (*tree.AbsentError)(nil); all && errors.As(err, &absent) {
			continue
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		images = append(images, namedJSON{ref, fmt.Sprintf("stagex/%s:%s", ref, t.Graph.Output(ref).Tag()), img.Digest()})
		img.Close()
	}
	if asJSON {
		return errors.Join(append(bad, printJSON(w, map[string]any{"images": images}))...)
	}
	for _, i := range images {
		fmt.Fprintln(w, i.Name)
	}
	return errors.Join(bad...)
}

// importRefs imports those of refs that out/ holds. With all, refs are the whole tree,
// and a missing output is not an error.
func importRefs(ctx context.Context, s *session, refs []graph.Ref, into string, all bool) error {
	tool, err := load.Find(ctx, into)
	if err != nil {
		return err
	}
	var bad []error
	var now atomic.Value
	now.Store("nothing")
	defer heartbeat(s.app, func() string { return fmt.Sprintf("importing %s", now.Load()) })()
	done := 0
	for _, ref := range refs {
		img, err := s.tree.Image(ref)
		if absent := (*tree.AbsentError)(nil); all && errors.As(err, &absent) {
			continue
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		now.Store(ref.String())
		tag := s.tree.Graph.Output(ref).Tag()
		err = tool.Load(ctx, img, tag)
		img.Close()
		if err != nil { // the program failed, and would fail for the next image too
			return errors.Join(append(bad, fmt.Errorf("importing %s: %w", ref, err))...)
		}
		fmt.Fprintf(s.stdout, "stagex/%s:%s\n", ref, tag)
		done++
	}
	if done == 0 && len(bad) == 0 {
		return errors.New("out/ holds no output of this tree: nothing to import")
	}
	if done > 0 {
		fmt.Fprintf(s.stderr, "sx: %s loaded into %s\n", count(done, "image"), tool)
	}
	return errors.Join(bad...)
}
