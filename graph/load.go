package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// packagesDir holds the stages.
const packagesDir = "packages"

// LoadOptions are options of Load. The zero value is useful.
type LoadOptions struct {
	Jobs   int    // definitions read at once; 0 means twice the number of processors
	Memory Memory // spares reading what has not changed; nil reads everything
	// Foreign returns why an image of another registry may not be used, nil if it may.
	// Several goroutines call it. A nil Foreign refuses all such images.
	Foreign func(Image) error
}

// Load reads packages/ of the tree. The FS of an [os.Root] follows no link out of the
// tree. If the tree is an [fs.SubFS], Load closes its folders that are an [io.Closer].
// Symbolic links to definitions, folders without package.toml, and stages with other names
// are skipped with a warning.
//
// An error in a definition breaks its outputs and their dependents, see [Graph.Broken],
// and nothing else. The returned error is about packages/ as a whole. The context only
// ends the reading early.
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
		d.failLate()
		l.checkImages(d)
		l.connect(d)
	}
	if err := l.each(ctx, resolve); err != nil {
		return nil, err
	}
	return l.finish(), nil
}

// loader collects drafts of definitions. Its phases are: find, read (in parallel), link,
// arrange, resolve and connect (in parallel), finish.
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

const (
	containerfileName = "Containerfile"
	manifestName      = "package.toml"
)

// maxFileSize bounds what is parsed, in bytes. Upstream's largest package.toml has
// 59 kB, its largest Containerfile 20 kB.
var maxFileSize = map[string]int64{manifestName: tomlscan.MaxSize, containerfileName: 256 << 10}

// read parses the two files of a definition, or recalls what they say.
func (l *loader) read(d *draft) {
	if d.read || l.recall(d) {
		return
	}
	if err := checkName(d.def.Name); err != nil { // no fs.FS opens such a name
		d.failAt(d.def.Dir, problem{0, err})
		return
	}
	folder, err := fs.Sub(l.tree, d.def.Dir)
	if c, ok := folder.(io.Closer); ok {
		defer c.Close()
	}
	var entries []fs.DirEntry
	if err == nil {
		entries, err = fs.ReadDir(folder, ".")
	}
	if err != nil {
		d.failAt(d.def.Dir, problemf(0, "reading the folder: %w", err))
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
		d.readName(folder, entries)
		return
	case !has(manifestName):
		d.skip = noPackageTOML
		return
	}
	for _, e := range checkFolder(folder, d.def, entries) {
		d.failAt(e.File, problem{e.Line, e.Err})
	}
	var problems []problem
	if d.def.Containerfile, problems = readFile(folder, containerfileName, entries); problems == nil {
		d.file, problems = parseContainerfile(d.def.Containerfile)
	}
	d.fail(containerfileName, problems...)
	if d.def.PackageTOML, problems = readFile(folder, manifestName, entries); problems == nil {
		d.manifest, problems = parseManifest(d.def.PackageTOML)
	}
	d.fail(manifestName, problems...)
	d.describe()
	if d.manifest != nil && d.manifest.Package.VersionFrom == nil {
		d.resolve() // no other definition decides its version
	}
}

// readName reads the name of a definition that is skipped, for messages. Its errors are
// not reported.
func (d *draft) readName(folder fs.FS, entries []fs.DirEntry) {
	data, problems := readFile(folder, manifestName, entries)
	if problems != nil {
		return
	}
	d.manifest, _ = parseManifest(data)
	d.describe()
}

// buffers spare each file one of another size than what is kept of it.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readFile reads a regular file of bounded size and nothing else: a link could lead
// elsewhere, and a pipe would never end.
func readFile(folder fs.FS, name string, entries []fs.DirEntry) ([]byte, []problem) {
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	if !entries[i].Type().IsRegular() {
		return nil, []problem{problemf(0, "not a regular file")}
	}
	f, err := folder.Open(name)
	if err != nil {
		return nil, []problem{problemf(0, "reading it: %w", err)}
	}
	defer f.Close()
	data := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(data)
	data.Reset()
	limit := maxFileSize[name]
	switch n, err := data.ReadFrom(io.LimitReader(f, limit+1)); {
	case err != nil:
		return nil, []problem{problemf(0, "reading it: %w", err)}
	case n > limit:
		return nil, []problem{problemf(1+bytes.Count(data.Bytes(), []byte("\n")), "larger than %d bytes", limit)}
	}
	return bytes.Clone(data.Bytes()), nil // as large as needed: it is kept
}
