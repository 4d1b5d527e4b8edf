package graph_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"codeberg.org/stagex/sx/graph/graphtest"

	"codeberg.org/stagex/sx/graph"
	"github.com/google/go-cmp/cmp"
)

// disk is a tree with core/x, whose folder it returns too.
func disk(t *testing.T) (root *os.Root, dir string) {
	t.Helper()
	tree := t.TempDir()
	dir = filepath.Join(tree, "packages", "core", "x")
	for name, text := range map[string]string{
		"package.toml":     "[package]\nname = \"x\"\n",
		"Containerfile":    "FROM scratch\n",
		"patches/a.patch":  "a",
		"fetch/left.tar":   "left over",
		"patches/fetch/in": "kept",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func definition(t *testing.T, tree fs.FS) *graph.Definition {
	t.Helper()
	g, err := graph.Load(t.Context(), tree, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g.Definitions()[0]
}

func TestSnapshot(t *testing.T) {
	root, dir := disk(t)
	d := definition(t, root.FS())
	write(t, filepath.Join(dir, "run.sh"), "#!/bin/sh\n")
	for name, mode := range map[string]fs.FileMode{"run.sh": 0o750, "patches/a.patch": 0o666, "patches": 0o700, "package.toml": 0o600, "Containerfile": 0o444} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("patches/a.patch", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "Containerfile")+".new", "FROM elsewhere\n")
	if err := os.Rename(filepath.Join(dir, "Containerfile")+".new", filepath.Join(dir, "Containerfile")); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1234567890, 0)
	if err := os.Chtimes(filepath.Join(dir, "run.sh"), when, when); err != nil {
		t.Fatal(err)
	}
	files, err := graph.Snapshot(root.FS(), d)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if f.Path == "run.sh" && !f.ModTime.Equal(when) {
			t.Errorf("time of run.sh = %v, want %v", f.ModTime, when)
		}
		files[i].ModTime = time.Time{}
	}
	want := []graph.File{
		{Path: "Containerfile", Mode: 0o644, Data: []byte("FROM scratch\n")}, // as it was parsed
		{Path: "link", Mode: fs.ModeSymlink | 0o777, Link: "patches/a.patch"},
		{Path: "package.toml", Mode: 0o644, Data: []byte("[package]\nname = \"x\"\n")},
		{Path: "patches", Mode: fs.ModeDir | 0o755},
		{Path: "patches/a.patch", Mode: 0o644, Data: []byte("a")},
		{Path: "patches/fetch", Mode: fs.ModeDir | 0o755},
		{Path: "patches/fetch/in", Mode: 0o644, Data: []byte("kept")},
		{Path: "run.sh", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

// TestSnapshotLinks: a link is carried as it is, wherever it leads, and not followed.
func TestSnapshotLinks(t *testing.T) {
	for _, target := range []string{
		"patches/a.patch", "..", "../base/Containerfile", "/proc/mounts", "/etc/passwd", "l", "l/l", "not/there", "fetch/source.tar", "patches/up/../etc",
	} {
		root, dir := disk(t)
		d := definition(t, root.FS())
		if err := os.Symlink(target, filepath.Join(dir, "l")); err != nil {
			t.Fatal(err)
		}
		files, err := graph.Snapshot(root.FS(), d)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(files, func(f graph.File) bool { return f.Path == "l" })
		if i < 0 || files[i].Link != target || files[i].Data != nil || files[i].Mode != fs.ModeSymlink|0o777 {
			t.Errorf("link to %q: %+v", target, files)
		}
		if err := wrong(load(t, root.FS())); err != nil {
			t.Errorf("link to %q: %v", target, err)
		}
	}
}

// TestLoadFindsWhatSnapshotRefuses, with the same words.
func TestLoadFindsWhatSnapshotRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"name":        {func(dir string) error { return os.WriteFile(filepath.Join(dir, "caf\xe9"), nil, 0o644) }, `caf\xe9: its name is not UTF-8`},
		"folder":      {func(dir string) error { return os.Mkdir(filepath.Join(dir, "patches", "caf\xe9"), 0o755) }, `patches/caf\xe9: its name is not UTF-8`},
		"link's name": {func(dir string) error { return os.Symlink("caf\xe9", filepath.Join(dir, "l")) }, `l: it is a link to a name that is not UTF-8`},
		"size":        {func(dir string) error { return os.Truncate(filepath.Join(dir, "patches", "a.patch"), 300<<20) }, `patches/a.patch: with it the definition's folder holds more than 268435456 bytes`},
		"pipe":        {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644) }, `pipe: neither a file, a folder nor a link (p---------)`},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := disk(t)
			d := definition(t, root.FS())
			if err := test.spoil(dir); err != nil {
				t.Fatal(err)
			}
			checkError(t, wrong(load(t, root.FS())), "packages/core/x/"+test.want)
			if _, err := graph.Snapshot(root.FS(), d); err == nil {
				t.Error("the snapshot takes it")
			}
		})
	}
}

func TestSnapshotRefusesOtherTypes(t *testing.T) {
	root, dir := disk(t)
	d := definition(t, root.FS())
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := graph.Snapshot(root.FS(), d)
	if err == nil || !strings.Contains(err.Error(), `"pipe": neither a file, a folder nor a link`) {
		t.Errorf("error = %v", err)
	}
}

// TestHostileTree: nothing outside the tree is read, and nothing waits for ever.
func TestHostileTree(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"link as Containerfile": func(dir string) error {
			return os.Symlink("/etc/passwd", filepath.Join(dir, "Containerfile"))
		},
		"link inside": func(dir string) error {
			return os.Symlink("patches/a.patch", filepath.Join(dir, "Containerfile"))
		},
		"pipe as Containerfile": func(dir string) error {
			return syscall.Mkfifo(filepath.Join(dir, "Containerfile"), 0o644)
		},
		"folder as Containerfile": func(dir string) error {
			return os.Mkdir(filepath.Join(dir, "Containerfile"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := disk(t)
			if err := os.Remove(filepath.Join(dir, "Containerfile")); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := loadTree(root.FS())
			checkError(t, err, "packages/core/x/Containerfile: not a regular file")
		})
	}
}

func TestHugeDefinition(t *testing.T) {
	root, dir := disk(t)
	if err := os.Truncate(filepath.Join(dir, "package.toml"), 1<<40); err != nil {
		t.Fatal(err)
	}
	_, err := loadTree(root.FS())
	checkError(t, err, "packages/core/x/package.toml:3: larger than 1048576 bytes")
}

func TestManyFiles(t *testing.T) {
	tree := graphtest.Tree(base)
	for i := range 100_001 {
		tree[fmt.Sprintf("packages/core/base/many/%06d", i)] = &fstest.MapFile{}
	}
	checkError(t, wrong(load(t, tree)), "packages/core/base/many/099998: with it the definition's folder holds more than 100000 files and folders")
}

// TestPackagesIsALink: not even one that stays in the tree is followed.
func TestPackagesIsALink(t *testing.T) {
	elsewhere, _ := disk(t)
	outside := filepath.Join(elsewhere.Name(), "packages")
	for name, target := range map[string]string{"out of the tree": outside, "inside": "real", "nowhere": "gone"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "real", "core", "x", "Containerfile"), "FROM scratch\n")
			if err := os.Symlink(target, filepath.Join(dir, "packages")); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			_, err = loadTree(root.FS())
			checkError(t, err, "packages: is a symbolic link, which sx does not follow")
			var file *graph.FileError
			if !errors.As(err, &file) {
				t.Errorf("error %T, want a *FileError", err)
			}
		})
	}
}
