package graph

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

const (
	containerfileName = "Containerfile"
	manifestName      = "package.toml"
)

// maxFileSize bounds what is parsed: the largest of upstream's definitions is a
// hundredth of it.
const maxFileSize = 1 << 20

// read parses the two files of a definition, or recalls what they say.
func (l *loader) read(d *draft) {
	if l.recall(d) {
		return
	}
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
		l.readName(d, entries)
		return
	case !has(manifestName):
		d.skip = "has no package.toml"
		return
	}
	d.errs = append(d.errs, checkFolder(l.tree, d.def, entries)...)
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

// readName finds out what a definition that is skipped would be called, which is
// for messages: nothing that is wrong in it is told.
func (l *loader) readName(d *draft, entries []fs.DirEntry) {
	data, err := l.readFile(d.def.Dir, manifestName, entries)
	if err != nil {
		return
	}
	d.manifest, _ = parseManifest(data)
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
