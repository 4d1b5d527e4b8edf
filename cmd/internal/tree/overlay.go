package tree

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/graph"
)

// LoadWith reads all definitions anew, as if the files had these contents; nil reads
// them as they are. Files are named by their paths in the tree, and may be new. Nothing
// is remembered.
func (t *Tree) LoadWith(ctx context.Context, files map[string][]byte) (*graph.Graph, error) {
	return graph.Load(ctx, overlay{t.FS, files}, graph.LoadOptions{Foreign: t.foreign})
}

// overlay is an fs.FS in which files have other contents.
type overlay struct {
	fs.FS
	files map[string][]byte
}

var (
	_ fs.ReadDirFS  = overlay{}
	_ fs.ReadLinkFS = overlay{}
)

// Open opens a file; a folder that is only in files cannot be opened, but read.
func (o overlay) Open(name string) (fs.File, error) {
	if data, ok := o.files[name]; ok {
		return &memoryFile{*bytes.NewReader(data), fileInfo{path.Base(name), int64(len(data)), 0o644}}, nil
	}
	return o.FS.Open(name)
}

// ReadDir returns the entries of both, sorted.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	own := o.children(name)
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && len(own) > 0) {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return slices.ContainsFunc(own, func(i fileInfo) bool { return i.name == e.Name() && !i.IsDir() })
	})
	for _, info := range own {
		if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == info.name }) {
			entries = append(entries, fs.FileInfoToDirEntry(info))
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// children lists what files has in a folder.
func (o overlay) children(folder string) (own []fileInfo) {
	for name, data := range o.files {
		rest, ok := strings.CutPrefix(name, folder+"/")
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		if deeper {
			own = append(own, fileInfo{first, 0, fs.ModeDir | 0o755})
		} else {
			own = append(own, fileInfo{first, int64(len(data)), 0o644})
		}
	}
	return own
}

// Lstat implements fs.ReadLinkFS.
func (o overlay) Lstat(name string) (fs.FileInfo, error) {
	if data, ok := o.files[name]; ok {
		return fileInfo{path.Base(name), int64(len(data)), 0o644}, nil
	}
	info, err := fs.Lstat(o.FS, name)
	if err != nil && len(o.children(name)) > 0 {
		return fileInfo{path.Base(name), 0, fs.ModeDir | 0o755}, nil
	}
	return info, err
}

// ReadLink implements fs.ReadLinkFS.
func (o overlay) ReadLink(name string) (string, error) { return fs.ReadLink(o.FS, name) }

// memoryFile is an open file of an overlay.
type memoryFile struct {
	bytes.Reader
	info fileInfo
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }
