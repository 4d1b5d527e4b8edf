package graph

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// packagesDir holds the stages.
const packagesDir = "packages"

const (
	containerfileName = "Containerfile"
	manifestName      = "package.toml"
)

// maxFileSize bounds what is parsed: the largest of upstream's definitions is a
// hundredth of it.
const maxFileSize = 1 << 20

// LoadOptions tunes Load. The zero value is good.
type LoadOptions struct {
	Jobs int // definitions read at once; 0: twice as many as processors
}

// Load reads packages/ of the tree. An [os.Root]'s FS keeps links from leading
// out of the tree. Symbolic links to definitions are passed over with a warning,
// as are folders without package.toml and stages of other names.
//
// The error joins a *FileError for everything that is wrong and does not follow
// from something else, sorted; it may hold *CycleError and
// *UnknownDependencyError. The context only ends the reading early.
func Load(ctx context.Context, tree fs.FS, opts LoadOptions) (*Graph, error) {
	l := &loader{tree: tree, jobs: opts.Jobs}
	if l.jobs <= 0 {
		l.jobs = 2 * runtime.GOMAXPROCS(0)
	}
	if err := l.find(); err != nil {
		return nil, err
	}
	if err := l.each(ctx, l.read); err != nil {
		return nil, err
	}
	l.link()
	if err := l.each(ctx, (*draft).resolve); err != nil {
		return nil, err
	}
	return l.finish()
}

// loader gathers drafts of definitions. Its phases take turns: find, read (in
// parallel), link, resolve (in parallel), finish.
type loader struct {
	tree     fs.FS
	jobs     int
	drafts   []*draft // by stage and name
	owners   map[Ref]*draft
	warnings []string

	names     []string // of all outputs, once a suggestion needs them
	suggested int
}

// each runs phase over all drafts, at most jobs at once.
func (l *loader) each(ctx context.Context, phase func(*draft)) error {
	var group errgroup.Group
	group.SetLimit(l.jobs)
	for _, d := range l.drafts {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			phase(d)
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
	stages, err := fs.ReadDir(l.tree, packagesDir)
	if err != nil {
		return fmt.Errorf("loading %q: %w", packagesDir, err)
	}
	for _, stage := range stages {
		dir := packagesDir + "/" + stage.Name()
		switch {
		case stage.Type()&fs.ModeSymlink != 0:
			l.warn("%s is a symbolic link: skipped", dir)
		case !stage.IsDir() || strings.HasPrefix(stage.Name(), "."):
		case !slices.Contains(Stages, stage.Name()):
			l.warn("%s is none of the stages %s: skipped", dir, strings.Join(Stages, ", "))
		default:
			if err := l.findIn(stage.Name(), dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loader) findIn(stage, dir string) error {
	entries, err := fs.ReadDir(l.tree, dir)
	if err != nil {
		return fmt.Errorf("loading %q: %w", dir, err)
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			l.warn("%s is a symbolic link: skipped", path)
		case e.IsDir():
			l.drafts = append(l.drafts, &draft{def: &Definition{Stage: stage, Name: e.Name(), Dir: path}})
		}
	}
	return nil
}

func (l *loader) warn(format, path string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, append([]any{printable(path)}, args...)...))
}

// read parses the two files of a definition.
func (l *loader) read(d *draft) {
	entries, err := fs.ReadDir(l.tree, d.def.Dir)
	if err != nil {
		d.errs = append(d.errs, &FileError{File: d.def.Dir, Err: fmt.Errorf("reading the folder: %w", err)})
		return
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	switch {
	case !has(containerfileName) && !has(manifestName):
		d.skip = hidden
		return
	case !has(containerfileName):
		d.skip = "has no Containerfile"
		return
	case !has(manifestName):
		d.skip = "has no package.toml"
		return
	}
	var problems []problem
	if d.def.Containerfile, err = l.readFile(d.def.Dir, containerfileName, entries); err != nil {
		d.fail(containerfileName, problem{0, err})
	} else {
		d.file, problems = parseContainerfile(d.def.Containerfile)
		d.fail(containerfileName, problems...)
	}
	if d.def.PackageTOML, err = l.readFile(d.def.Dir, manifestName, entries); err != nil {
		d.fail(manifestName, problem{0, err})
		return
	}
	d.manifest, problems = parseManifest(d.def.PackageTOML)
	d.fail(manifestName, problems...)
	d.describe()
}

// readFile reads a regular file of bounded size and nothing else: a link could
// lead elsewhere, and a pipe would never end.
func (l *loader) readFile(dir, name string, entries []fs.DirEntry) ([]byte, error) {
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	if !entries[i].Type().IsRegular() {
		return nil, fmt.Errorf("not a regular file")
	}
	f, err := l.tree.Open(dir + "/" + name)
	if err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	defer f.Close()
	var data bytes.Buffer
	if info, err := f.Stat(); err == nil {
		data.Grow(int(min(info.Size(), maxFileSize)) + bytes.MinRead)
	}
	switch n, err := io.Copy(&data, io.LimitReader(f, maxFileSize+1)); {
	case err != nil:
		return nil, fmt.Errorf("reading it: %w", err)
	case n > maxFileSize:
		return nil, fmt.Errorf("larger than %d bytes", maxFileSize)
	}
	return data.Bytes(), nil
}
