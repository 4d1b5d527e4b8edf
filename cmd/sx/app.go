package main

import (
	"cmp"
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

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/selector"
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
	typed          string // the command line, for people
	trace          string // file of --trace
	ends           []func(context.Context) error
}

// atEnd has end called when the command has ended, however that was.
func (a *app) atEnd(end func(context.Context) error) { a.ends = append(a.ends, end) }

// end calls what atEnd was given. That it fails does not change how the command ended.
func (a *app) end(ctx context.Context) {
	for _, end := range a.ends {
		if err := end(ctx); err != nil {
			plainTalk{a.stderr}.Warn(err.Error())
		}
	}
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

// base returns the folder that relative paths of the command line start from.
func (a *app) base() string {
	if dir, err := filepath.Abs(cmp.Or(a.dir, ".")); err == nil {
		return dir
	}
	return a.dir
}

func (a *app) logger() *zap.Logger {
	if !a.verbose {
		return zap.NewNop()
	}
	return newSentences(a.stderr)
}

// settings reads the user's and the tree's stagex.toml. flags holds the values of given
// flags by setting ("build.jobs"); they take precedence.
func (a *app) settings(tree string, flags map[string]string) (settings.Settings, error) {
	for _, w := range settings.UnknownEnv(os.Environ()) {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(w))
	}
	s, err := loadSettings(tree, flags)
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}

// loadSettings reads the settings of the user and of a tree, "" for none, and says nothing.
func loadSettings(tree string, flags map[string]string) (s settings.Settings, err error) {
	o := settings.Options{UserFile: settings.UserFile(os.Getenv), Getenv: os.Getenv, Flags: flags, FlagNames: flagNames()}
	if tree != "" {
		root, err := os.OpenRoot(tree)
		if err != nil {
			return s, err
		}
		defer root.Close()
		o.Tree = root.FS()
	}
	return settings.Load(o)
}

// keyFile returns the path of the key that authenticates records, by the XDG base
// directory specification. Relative paths in the environment are ignored: they would
// put the key into the tree.
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

// open loads the tree and its settings. With all, it reads out/ for every output.
func (a *app) open(ctx context.Context, flags map[string]string, all bool) (*tree.View, settings.Settings, error) {
	dir, err := a.treeDir()
	if err != nil {
		return nil, settings.Settings{}, err
	}
	set, err := a.settings(dir, flags)
	if err != nil {
		return nil, set, err
	}
	v, err := tree.Open(ctx, dir, tree.Options{
		State:   set.Paths.StateDir(dir),
		KeyFile: keyFile(),
		Build:   engineVersion(),
		Foreign: foreignImages(set),
		Engines: a.engineInfos(set),
		Log:     a.logger(),
		All:     all,
	})
	if errors.Is(err, fs.ErrPermission) {
		return nil, set, fmt.Errorf("%w\nsx keeps its state in .sx (paths.state moves it) and its key in $XDG_STATE_HOME/sx", err)
	}
	if err != nil {
		return nil, set, definitionError(err)
	}
	return v, set, nil
}

// session is one command running in a tree.
type session struct {
	*app
	tree  *tree.Tree
	view  *tree.View // as it was when the tree was opened
	set   settings.Settings
	flags map[string]string // see changedFlags
	// unkept says that what the command downloads is no run to keep: it belongs to no build.
	unkept bool
	span   func(output string) string // of the run, see [driver.Options].Span
	spans  buildkit.Spans             // receives those of the engine
}

// inTree opens the tree, resolves the selectors (none selects all) and calls do with
// the outputs that are not broken. It returns an error for the broken ones after that.
func (a *app) inTree(ctx context.Context, flags map[string]string, selectors []string,
	do func(*session, []graph.Ref) error) error {
	return a.inTreeSelecting(ctx, flags, selectors, false, func(s *session, sel selection) error {
		var err error
		if len(sel.refs) > 0 || sel.err() == nil {
			err = do(s, sel.refs)
		}
		return errors.Join(err, sel.err())
	})
}

// inTreeSelecting is inTree for a do that handles broken outputs itself. With all, it
// reads out/ for every output, not only for the selected ones.
func (a *app) inTreeSelecting(ctx context.Context, flags map[string]string, selectors []string, all bool,
	do func(*session, selection) error) error {
	v, set, err := a.open(ctx, flags, all)
	if err != nil {
		return err
	}
	defer func() {
		if err := v.Close(); err != nil { // the next run takes longer, no more
			a.warnOf(err)
		}
	}()
	sel, err := a.selectRefs(v.Graph, selectors)
	if err != nil {
		return err
	}
	return do(&session{app: a, tree: v.Tree, view: v, set: set, flags: flags}, sel)
}

// readGraph reads only the definitions. It works in a read-only tree, and with invalid
// settings.
func (a *app) readGraph(ctx context.Context) (*graph.Graph, error) {
	dir, err := a.treeDir()
	if err != nil {
		return nil, err
	}
	opts := tree.Options{KeyFile: keyFile(), Build: engineVersion(), Log: a.logger()}
	if set, err := a.settings(dir, nil); err == nil {
		opts.State, opts.Foreign = set.Paths.StateDir(dir), foreignImages(set)
	}
	g, err := tree.LoadGraph(ctx, dir, opts)
	return g, definitionError(err)
}

// oneOutput resolves a selector that must name a single output.
func (a *app) oneOutput(g *graph.Graph, selector string) (graph.Ref, error) {
	sel, err := a.selectRefs(g, []string{selector})
	if err == nil {
		err = sel.err()
	}
	if err != nil {
		return graph.Ref{}, err
	}
	if len(sel.refs) != 1 {
		return graph.Ref{}, usagef("%q is %d outputs: %s; name one", selector, len(sel.refs), names(sel.refs))
	}
	return sel.refs[0], nil
}

// definitionError makes a usage error of an error in a file of the tree.
func definitionError(err error) error {
	var file *graph.FileError
	if errors.As(err, &file) {
		return usageError{err}
	}
	return err
}

// warn prints the warnings about the tree. Only build and graph call it.
func (a *app) warn(g *graph.Graph) {
	for _, w := range g.Warnings() {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(w))
	}
}

// warnOf prints a warning for each line of err.
func (a *app) warnOf(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(line))
	}
}

// selection is the result of resolving selectors.
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

// selectRefs resolves selectors, which may be paths relative to -C or the working folder;
// none selects all.
func (a *app) selectRefs(g *graph.Graph, selectors []string) (selection, error) {
	if len(selectors) == 0 {
		return selection{g.All(), g.Broken()}, nil
	}
	if dir, err := a.treeDir(); err == nil {
		selectors = selector.Local(dir, a.base(), selectors, func(s string) bool {
			_, _, err := g.Select([]string{s})
			return err == nil
		})
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
