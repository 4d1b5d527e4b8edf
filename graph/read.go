package graph

import (
	"bytes"
	"io"
	"io/fs"
	"slices"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

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
	if err := checkName(d.def.Name); err != nil { // which no fs.FS opens
		d.failAt(d.def.Dir, problem{0, err})
		return
	}
	entries, err := fs.ReadDir(l.tree, d.def.Dir)
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
		l.readName(d, entries)
		return
	case !has(manifestName):
		d.skip = noPackageTOML
		return
	}
	for _, e := range checkFolder(l.tree, d.def, entries) {
		d.failAt(e.File, problem{e.Line, e.Err})
	}
	var problems []problem
	if d.def.Containerfile, problems = l.readFile(d.def.Dir, containerfileName, entries); problems == nil {
		d.file, problems = parseContainerfile(d.def.Containerfile)
	}
	d.fail(containerfileName, problems...)
	if d.def.PackageTOML, problems = l.readFile(d.def.Dir, manifestName, entries); problems == nil {
		d.manifest, problems = parseManifest(d.def.PackageTOML)
	}
	d.fail(manifestName, problems...)
	d.describe()
}

// readName finds out what a definition that is skipped would be called, which is
// for messages: nothing that is wrong in it is told.
func (l *loader) readName(d *draft, entries []fs.DirEntry) {
	data, problems := l.readFile(d.def.Dir, manifestName, entries)
	if problems != nil {
		return
	}
	d.manifest, _ = parseManifest(data)
	d.describe()
}

// readFile reads a regular file of bounded size and nothing else: a link could
// lead elsewhere, and a pipe would never end.
func (l *loader) readFile(dir, name string, entries []fs.DirEntry) ([]byte, []problem) {
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	if !entries[i].Type().IsRegular() {
		return nil, []problem{problemf(0, "not a regular file")}
	}
	f, err := l.tree.Open(dir + "/" + name)
	if err != nil {
		return nil, []problem{problemf(0, "reading it: %w", err)}
	}
	defer f.Close()
	var data bytes.Buffer
	limit := maxFileSize[name]
	if info, err := f.Stat(); err == nil {
		data.Grow(int(min(info.Size(), limit)) + bytes.MinRead)
	}
	switch n, err := io.Copy(&data, io.LimitReader(f, limit+1)); {
	case err != nil:
		return nil, []problem{problemf(0, "reading it: %w", err)}
	case n > limit:
		return nil, []problem{problemf(1+bytes.Count(data.Bytes(), []byte("\n")), "larger than %d bytes", limit)}
	}
	return data.Bytes(), nil
}
