package graph_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

func TestSnapshotLinks(t *testing.T) {
	const leaves = "leaves the folder"
	for name, test := range map[string]struct {
		links map[string]string
		want  string // of the error; "" for none
	}{
		"inside":            {map[string]string{"patches/l": "../patches/a.patch"}, ""},
		"to the folder":     {map[string]string{"patches/l": ".."}, ""},
		"nowhere":           {map[string]string{"l": "not/there"}, ""},
		"into fetch":        {map[string]string{"l": "fetch/source.tar"}, ""},
		"through a link":    {map[string]string{"d": "patches", "l": "d/a.patch"}, ""},
		"absolute":          {map[string]string{"l": "/etc/passwd"}, leaves + ": the path is absolute"},
		"out":               {map[string]string{"l": "../base/Containerfile"}, leaves},
		"out and in again":  {map[string]string{"l": "../x/Containerfile"}, leaves},
		"out from below":    {map[string]string{"patches/l": "../../x"}, leaves},
		"chain":             {map[string]string{"a": "b", "b": "patches/c", "patches/c": "../../.."}, leaves},
		"through a folder":  {map[string]string{"patches/up": "..", "l": "patches/up/../etc"}, leaves},
		"deep and back":     {map[string]string{"l": "patches/x/../../../y"}, leaves},
		"chain to absolute": {map[string]string{"a": "b/passwd", "b": "/etc"}, leaves + ": the path is absolute"},
		"loop":              {map[string]string{"a": "b", "b": "a"}, "too many links"},
		"own tail":          {map[string]string{"a": "a/a"}, "too many links"},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := disk(t)
			d := definition(t, root.FS())
			for link, target := range test.links {
				if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			files, err := graph.Snapshot(root.FS(), d)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+test.want)):
				t.Errorf("error = %v, want %q", err, test.want)
			case test.want != "" && files != nil:
				t.Error("files beside an error")
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
	if err == nil || !strings.Contains(err.Error(), `"pipe" is neither a file, a folder nor a link`) {
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
			_, err := graph.Load(t.Context(), root.FS(), graph.LoadOptions{})
			checkError(t, err, "packages/core/x/Containerfile: not a regular file")
		})
	}
}

func TestHugeDefinition(t *testing.T) {
	root, dir := disk(t)
	if err := os.Truncate(filepath.Join(dir, "package.toml"), 1<<40); err != nil {
		t.Fatal(err)
	}
	_, err := graph.Load(t.Context(), root.FS(), graph.LoadOptions{})
	checkError(t, err, "packages/core/x/package.toml: larger than 1048576 bytes")
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
			_, err = graph.Load(t.Context(), root.FS(), graph.LoadOptions{})
			checkError(t, err, "packages: is a symbolic link, which sx does not follow")
			var file *graph.FileError
			if !errors.As(err, &file) {
				t.Errorf("error %T, want a *FileError", err)
			}
		})
	}
}
