package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// app is what every command shares.
type app struct {
	stdout, stderr io.Writer
	dir            string
	verbose        bool
}

// treeDir finds the tree that -C or the working directory names.
func (a *app) treeDir() (string, error) {
	dir := a.dir
	if dir == "" {
		dir = "."
	} else if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", usagef("-C %s: no such folder", dir)
	}
	return tree.FindTree(dir)
}

func (a *app) logger() *zap.Logger {
	if !a.verbose {
		return zap.NewNop()
	}
	return newSentences(a.stderr)
}

// settings reads stagex.toml of the user and of the tree, with flags over them:
// values by key ("build.jobs"), only of flags that were given.
func (a *app) settings(tree string, flags map[string]string) (settings.Settings, error) {
	for _, w := range settings.UnknownEnv(os.Environ()) {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(w))
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return settings.Settings{}, err
	}
	defer root.Close()
	s, err := settings.Load(settings.Options{
		UserFile: settings.UserFile(os.Getenv), Tree: root.FS(), Getenv: os.Getenv, Flags: flags, FlagNames: flagNames(),
	})
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}

// keyFile is where the key that authenticates records lies, by the XDG base
// directory specification. A relative path counts for nothing: it would put the
// key into whatever tree sx is in.
func keyFile() string {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home := os.Getenv("HOME")
		if u, err := user.Current(); !filepath.IsAbs(home) && err == nil {
			home = u.HomeDir
		}
		state = filepath.Join("/", home, ".local", "state")
	}
	return filepath.Join(state, "sx", "record.key")
}

// open loads the tree and its settings.
func (a *app) open(ctx context.Context, flags map[string]string, all bool) (*tree.Tree, settings.Settings, error) {
	dir, err := a.treeDir()
	if err != nil {
		return nil, settings.Settings{}, err
	}
	set, err := a.settings(dir, flags)
	if err != nil {
		return nil, set, err
	}
	t, err := tree.OpenTree(ctx, dir, tree.TreeOptions{
		State:   set.Paths.StateDir(dir),
		KeyFile: keyFile(),
		Build:   engineVersion(),
		Foreign: foreignImages(set),
		Log:     a.logger(),
		All:     all,
	})
	if errors.Is(err, fs.ErrPermission) {
		return nil, set, fmt.Errorf("%w\nsx keeps its state in .sx (paths.state moves it) and its key in $XDG_STATE_HOME/sx", err)
	}
	if err != nil {
		return nil, set, definitionError(err)
	}
	return t, set, nil
}

// session is a command at work in a tree.
type session struct {
	*app
	tree  *tree.Tree
	set   settings.Settings
	flags map[string]string // see changedFlags
}

// inTree opens the tree, resolves the selectors (none selects all) and calls do with
// the outputs that are not broken. It returns an error for the broken ones after that.
func (a *app) inTree(ctx context.Context, flags map[string]string, selectors []string,
	do func(*session, []graph.Ref) error) error {
	return a.inTreeLooking(ctx, flags, selectors, false, func(s *session, sel selection) error {
		var err error
		if len(sel.refs) > 0 || sel.err() == nil {
			err = do(s, sel.refs)
		}
		return errors.Join(err, sel.err())
	})
}

// inTreeLooking is inTree for a do that handles broken outputs itself. With all, the
// tree is read for every output, whatever is selected.
func (a *app) inTreeLooking(ctx context.Context, flags map[string]string, selectors []string, all bool,
	do func(*session, selection) error) error {
	t, set, err := a.open(ctx, flags, all)
	if err != nil {
		return err
	}
	defer func() {
		if err := t.Close(); err != nil { // costs the next run time, no more
			a.warnOf(err)
		}
	}()
	sel, err := selectRefs(t.Graph, selectors)
	if err != nil {
		return err
	}
	return do(&session{a, t, set, flags}, sel)
}

// readGraph reads the definitions only: it works in a tree that cannot be
// written to, and whatever the settings say.
func (a *app) readGraph(ctx context.Context) (*graph.Graph, error) {
	dir, err := a.treeDir()
	if err != nil {
		return nil, err
	}
	opts := tree.TreeOptions{KeyFile: keyFile(), Build: engineVersion(), Log: a.logger()}
	if set, err := a.settings(dir, nil); err == nil {
		opts.State, opts.Foreign = set.Paths.StateDir(dir), foreignImages(set)
	}
	g, err := tree.LoadGraph(ctx, dir, opts)
	return g, definitionError(err)
}

// definitionError gives errors in the tree's files the code of usage errors.
func definitionError(err error) error {
	var file *graph.FileError
	if errors.As(err, &file) {
		return usageError{err}
	}
	return err
}

// warn lists what was passed over in the tree. Only build and graph do that.
func (a *app) warn(g *graph.Graph) {
	for _, w := range g.Warnings() {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(w))
	}
}

// warnOf writes a line for each of the errors that err may join.
func (a *app) warnOf(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(line))
	}
}

// selection is what selectors name.
type selection struct {
	refs   []graph.Ref
	broken []*graph.Broken // definitions whose outputs cannot be built
}

// err describes the broken definitions; nil if none is selected.
func (s selection) err() error {
	if len(s.broken) == 0 {
		return nil
	}
	return usageError{&graph.BrokenError{Broken: s.broken}}
}

// selectRefs resolves selectors; none selects all.
func selectRefs(g *graph.Graph, selectors []string) (selection, error) {
	if len(selectors) == 0 {
		return selection{g.All(), g.Broken()}, nil
	}
	refs, broken, err := g.Select(selectors)
	if err != nil {
		return selection{}, usageError{err}
	}
	if len(refs)+len(broken) == 0 {
		return selection{}, usagef("nothing is selected")
	}
	return selection{refs, broken}, nil
}
