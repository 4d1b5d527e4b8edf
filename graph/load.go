package graph

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// packagesDir holds the stages.
const packagesDir = "packages"

// LoadOptions tunes Load. The zero value is good.
type LoadOptions struct {
	Jobs   int    // definitions read at once; 0: twice as many as processors
	Memory Memory // spares reading what is as it was; nil: all is read
	// Foreign says why an image of another registry may not be used, nil where it
	// may. Several goroutines call it. Nil refuses all such images.
	Foreign func(Image) error
}

// Load reads packages/ of the tree. An [os.Root]'s FS keeps links from leading
// out of the tree. Symbolic links to definitions are passed over with a warning,
// as are folders without package.toml and stages of other names.
//
// What is wrong with a definition breaks its outputs and what depends on them,
// see [Graph.Broken], and nothing else. The error is about packages/ as a whole.
// The context only ends the reading early.
func Load(ctx context.Context, tree fs.FS, opts LoadOptions) (*Graph, error) {
	l := &loader{tree: tree, jobs: opts.Jobs, memory: opts.Memory, foreign: opts.Foreign}
	if l.jobs <= 0 {
		l.jobs = 2 * runtime.GOMAXPROCS(0)
	}
	for {
		g, err := l.load(ctx)
		if err != nil {
			return nil, err
		}
		if !l.forgetWrong() {
			l.remember(ctx)
			return g, nil
		}
	}
}

// load may be called again.
func (l *loader) load(ctx context.Context) (*Graph, error) {
	for ok := false; !ok; ok = !l.forgetOutdated() {
		l.drafts, l.warnings, l.skipped = nil, nil, make(map[Ref]string)
		l.links, l.folders = make(map[string]string), make(map[Ref]bool)
		if err := l.find(); err != nil {
			return nil, err
		}
		if err := l.each(ctx, l.read); err != nil {
			return nil, err
		}
		l.link()
	}
	l.arrange()
	resolve := func(d *draft) {
		d.resolve()
		l.checkImages(d)
		l.connect(d)
	}
	if err := l.each(ctx, resolve); err != nil {
		return nil, err
	}
	return l.finish(), nil
}

// loader gathers drafts of definitions. Its phases take turns: find, read (in
// parallel), link, arrange, resolve and connect (in parallel), finish.
type loader struct {
	tree     fs.FS
	jobs     int
	memory   Memory
	foreign  func(Image) error
	drafts   []*draft // by stage and name
	outputs  []*Output
	index    map[Ref]*Output
	warnings []string
	skipped  map[Ref]string    // why there is no such output; without a name, no such stage
	links    map[string]string // see [Graph]
	folders  map[Ref]bool

	names     []string // of all outputs, once a suggestion needs them
	suggested int
}

// each runs phase over all drafts, at most jobs at once.
func (l *loader) each(ctx context.Context, phase func(*draft)) error {
	var group errgroup.Group
	var next atomic.Int64
	for range min(l.jobs, len(l.drafts)) {
		group.Go(func() error {
			for i := next.Add(1) - 1; int(i) < len(l.drafts) && ctx.Err() == nil; i = next.Add(1) - 1 {
				phase(l.drafts[i])
			}
			return nil
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("loading %q: %w", packagesDir, context.Cause(ctx))
	}
	return nil
}

// find lists the definition folders.
//
// Source: upstream's src/targets.py, init_packages: os.walk does not follow
// links to folders.
func (l *loader) find() error {
	if info, err := fs.Lstat(l.tree, packagesDir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return &FileError{File: packagesDir, Err: errors.New("is a symbolic link, which sx does not follow")}
	}
	stages, err := fs.ReadDir(l.tree, packagesDir)
	if err != nil {
		return fmt.Errorf("loading %q: %w", packagesDir, err)
	}
	for _, stage := range stages {
		dir := packagesDir + "/" + stage.Name()
		switch {
		case stage.Type()&fs.ModeSymlink != 0:
			l.warn("%s is a symbolic link: skipped", dir)
			l.pass(dir, "is a symbolic link", Ref{Stage: stage.Name()})
			l.folders[Ref{Stage: stage.Name()}] = true
		case !stage.IsDir() || strings.HasPrefix(stage.Name(), "."):
		case !slices.Contains(Stages, stage.Name()):
			l.warn("%s is none of the stages %s: skipped", dir, strings.Join(Stages, ", "))
		default:
			l.findIn(stage.Name(), dir)
		}
	}
	return nil
}

func (l *loader) findIn(stage, dir string) {
	entries, err := fs.ReadDir(l.tree, dir)
	if err != nil {
		d := &draft{def: &Definition{Stage: stage, Dir: dir}, read: true}
		d.failAt(dir, problemf(0, "reading the folder: %w", err))
		l.drafts = append(l.drafts, d)
		return
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			l.warn("%s is a symbolic link: skipped", path)
			r := Ref{Stage: stage, Name: e.Name()}
			l.pass(path, "is a symbolic link", r)
			l.links[stage], l.folders[r] = l.skipped[r], true
		case e.IsDir():
			l.drafts = append(l.drafts, &draft{def: &Definition{Stage: stage, Name: e.Name(), Dir: path}})
		}
	}
}

func (l *loader) warn(format, path string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, append([]any{printable(path)}, args...)...))
}

// pass notes for whoever needs them that refs are none, because dir is passed over.
func (l *loader) pass(dir, why string, refs ...Ref) {
	for _, r := range refs {
		l.skipped[r] = fmt.Sprintf("%s is skipped, it %s", dir, why)
	}
}
