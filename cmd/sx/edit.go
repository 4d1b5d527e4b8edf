package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/edit"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// The functions that sx hash, sx update and sx new share. No other command writes below
// packages/.

// maxEdited is the largest file that is edited, in bytes.
const maxEdited = 1 << 20

// editTree is how edits read the tree.
func editTree(s *session) edit.Tree {
	return edit.Tree{
		Read: func(path string) ([]byte, error) {
			return disk.ReadFile(filepath.Join(s.tree.Dir, filepath.FromSlash(path)), maxEdited)
		},
		Load: s.tree.LoadWith,
	}
}

// oneDefinition returns the folder of the only definition of a selection.
func oneDefinition(s *session, selector string, sel selection) (string, error) {
	var dirs []string
	for _, ref := range sel.refs {
		dirs = append(dirs, s.tree.Graph.Output(ref).Definition.Dir)
	}
	for _, b := range sel.broken {
		dirs = append(dirs, b.Dir)
	}
	slices.Sort(dirs)
	if dirs = slices.Compact(dirs); len(dirs) != 1 {
		return "", usagef("%q is of %d definitions: %s; name one", selector, len(dirs), strings.Join(dirs[:min(len(dirs), 8)], ", "))
	}
	return dirs[0], nil
}

// editOne opens the tree and calls do with the folder of the definition that selector
// names.
func editOne(ctx context.Context, a *app, flags map[string]string, selector string, do func(s *session, dir string) error) error {
	return a.inTreeSelecting(ctx, flags, []string{selector}, false, func(s *session, sel selection) error {
		dir, err := oneDefinition(s, selector, sel)
		if err != nil {
			return err
		}
		return editError(do(s, dir))
	})
}

// editError makes a usage error of an error in a definition.
func editError(err error) error {
	var broken *graph.BrokenError
	if errors.As(err, &broken) {
		return usageError{err}
	}
	return definitionError(err)
}

// learn downloads the sources of an edit and sets their hashes. With keep the files are
// put into fetch/.
func learn(ctx context.Context, s *session, e *edit.Edit, keep bool) (learnt []fetch.Learnt, err error) {
	if len(e.Sources) == 0 {
		return nil, nil
	}
	opts, err := fetchSettings(s.app, s.set)
	if err != nil {
		return nil, err
	}
	opts.First = nil // it has sources by their hashes
	opts.Tree, opts.TempDir, opts.Log = s.tree.Dir, s.tree.Store.Dir("partial"), s.logger()
	var sources []fetch.Source
	for _, want := range e.Sources {
		sources = append(sources, fetch.Source{Name: want.Name(), Path: want.Path, Mirrors: want.Mirrors})
	}
	s.unkept = true
	err = s.withDisplay(ctx, func(d *progress.Display) (err error) {
		opts.Status = d.Sources()
		learnt, err = fetch.Learn(ctx, sources, keep, opts)
		return err
	})
	for i, l := range learnt {
		err = errors.Join(err, e.SetHash(i, l.Hash))
	}
	return learnt, err
}

// tellLearnt prints each downloaded file on stderr, with warnings about its mirrors.
func tellLearnt(s *session, learnt []fetch.Learnt) {
	for _, l := range learnt {
		fmt.Fprintf(s.stderr, "sx: %s: %s, %s, from %s\n", text.Field(l.Name), text.Field(filepath.Base(l.Path)), units.HumanSize(float64(l.Size)),
			text.Field(strings.Join(l.From, ", ")))
		for _, f := range l.Failed {
			fmt.Fprintf(s.stderr, "sx: warning: %s: the mirror %s did not send it: %s\n", text.Field(l.Name), text.Field(f.Place), text.Field(f.Text()))
		}
		if l.Plain {
			fmt.Fprintf(s.stderr, "sx: warning: %s: downloaded by plain http, so anyone on the way can have replaced it: compare the hash\n", text.Field(l.Name))
		}
	}
}

func tellNotes(s *session, notes []string) {
	for _, n := range notes {
		fmt.Fprintln(s.stderr, "sx: warning: "+text.Field(n))
	}
}

// writeEdits writes the files.
func writeEdits(s *session, files []edit.File) error {
	var written []string
	for _, f := range files {
		if err := f.Write(s.tree.Dir, s.tree.Store.Dir("tmp")); err != nil {
			if len(written) > 0 {
				err = fmt.Errorf("%w\nalready written: %s", err, strings.Join(written, ", "))
			}
			return err
		}
		written = append(written, f.Path)
	}
	return nil
}

// printChanges prints a line for each value that changes.
func printChanges(s *session, files []edit.File) {
	for _, f := range files {
		for _, c := range f.Changes {
			was := c.Was
			if was == "" {
				was = "(none)"
			}
			fmt.Fprintf(s.stdout, "%s:%d: %s %s → %s\n", text.Field(c.Path), c.Line, text.Field(c.Key), text.Field(was), text.Field(c.Now))
		}
	}
}

// editJSON is the output of hash --json and update --json. It only gains fields.
type editJSON struct {
	Sources []learntJSON `json:"sources"`
	Changes []changeJSON `json:"changes"`
	Notes   []string     `json:"notes"`
	Follow  []string     `json:"followers"` // definitions that take the version
	Written bool         `json:"written"`
}

type learntJSON struct {
	Source string   `json:"source"` // the key in package.toml
	File   string   `json:"file"`   // package.toml
	Path   string   `json:"path"`   // in fetch/
	Sha256 string   `json:"sha256"`
	Was    string   `json:"was"` // in package.toml
	Size   int64    `json:"size"`
	From   []string `json:"from"`   // mirrors that sent it
	Failed []string `json:"failed"` // mirrors that did not
}

type changeJSON struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Key  string `json:"key"`
	Was  string `json:"was"`
	Now  string `json:"now"`
}

func newEditJSON(e *edit.Edit, learnt []fetch.Learnt, files []edit.File, written bool) editJSON {
	j := editJSON{Sources: []learntJSON{}, Changes: []changeJSON{}, Notes: append([]string{}, e.Notes...),
		Follow: append([]string{}, e.Followers...), Written: written}
	for i, l := range learnt {
		failed := []string{}
		for _, f := range l.Failed {
			failed = append(failed, f.Place)
		}
		of := e.Sources[i]
		j.Sources = append(j.Sources, learntJSON{of.Key, of.Dir + "/package.toml", of.Path, l.Hash.String(), of.Was, l.Size, l.From, failed})
	}
	for _, f := range files {
		for _, c := range f.Changes {
			j.Changes = append(j.Changes, changeJSON{c.Path, c.Line, c.Key, c.Was, c.Now})
		}
	}
	return j
}

// completeSources completes the keys of the sources of the definition that the first
// argument names.
func completeSources(a *app) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		g, err := a.readGraph(c.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		sel, err := a.selectRefs(g, args[:1])
		if err != nil || len(sel.refs) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var keys []string
		for _, s := range g.Output(sel.refs[0]).Definition.Sources {
			if strings.HasPrefix(s.Key, begun) {
				keys = append(keys, s.Key)
			}
		}
		return keys, cobra.ShellCompDirectiveNoFileComp
	}
}
