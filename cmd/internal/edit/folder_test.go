package edit

import (
	"context"
	"os"
	"path/filepath"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
)

// inFolder is a Tree on the disk.
func inFolder(root string) Tree {
	return Tree{
		Read: func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(root, path)) },
		Load: func(ctx context.Context, files map[string][]byte) (*graph.Graph, error) {
			if len(files) == 0 {
				return graph.Load(ctx, os.DirFS(root), graph.LoadOptions{})
			}
			with := fstest.MapFS{}
			if err := addFolder(with, root); err != nil {
				return nil, err
			}
			for name, data := range files {
				with[name] = &fstest.MapFile{Data: data, Mode: 0o644}
			}
			return graph.Load(ctx, with, graph.LoadOptions{})
		},
	}
}

// addFolder reads packages/ into memory.
func addFolder(m fstest.MapFS, root string) error {
	return filepath.WalkDir(filepath.Join(root, "packages"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := &fstest.MapFile{Mode: d.Type()}
		if d.Type().IsRegular() {
			f.Mode = 0o644
			f.Data, err = os.ReadFile(path)
		} else if target, link := os.Readlink(path); link == nil {
			f.Data = []byte(target)
		}
		m[rel] = f
		return err
	})
}
