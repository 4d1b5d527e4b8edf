package history_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/graph"
)

// repo is a checkout made by the real git.
type repo struct {
	t   *testing.T
	dir string
}

// newRepo returns an empty repository; its first commit is still to come.
func newRepo(t *testing.T) repo {
	t.Helper()
	r := repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

// published returns a repository of three commits: definitions, their digests, and an edit of packages/core/b.
func published(t *testing.T) repo {
	t.Helper()
	makeTemplate.Do(func() { fill(repo{t, template}) })
	r := repo{t, filepath.Join(t.TempDir(), "tree")}
	r.must(os.CopyFS(r.dir, os.DirFS(template)))
	return r
}

// template is what published copies: git takes longer to make it than most tests run.
var (
	template     string
	makeTemplate sync.Once
)

func fill(r repo) {
	r.git("init", "-q", "-b", "main")
	r.write("packages/core/a/Containerfile", "FROM scratch\n")
	r.write("packages/core/a/files/run.sh", "#!/bin/sh\n")
	r.chmod("packages/core/a/files/run.sh", 0o755)
	r.symlink("packages/core/a/link", "Containerfile")
	r.write("packages/core/b/Containerfile", "FROM scratch\n")
	r.commit("definitions")
	r.write("digests/core.txt", "1111 core-a\n2222 core-b\n")
	r.commit("digests")
	r.write("packages/core/b/Containerfile", "FROM scratch AS b\n")
	r.commit("edit b")
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sx-history-")
	if err != nil {
		panic(err)
	}
	template = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// git runs git in the repository, with no configuration but the repository's own, and returns what it prints.
func (r repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=2026-03-12T12:00:00Z",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=2026-03-12T12:00:00Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits everything and returns the hash.
func (r repo) commit(message string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

func (r repo) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func (r repo) write(name, data string) {
	r.t.Helper()
	r.must(os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	r.must(os.WriteFile(r.path(name), []byte(data), 0o644))
}

func (r repo) chmod(name string, mode fs.FileMode) {
	r.t.Helper()
	r.must(os.Chmod(r.path(name), mode))
}

func (r repo) symlink(name, target string) {
	r.t.Helper()
	r.must(os.Symlink(target, r.path(name)))
}

func (r repo) remove(name string) {
	r.t.Helper()
	r.must(os.RemoveAll(r.path(name)))
}

func (r repo) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// open opens the history of the repository's root.
func (r repo) open() *history.History {
	r.t.Helper()
	return open(r.t, r.dir)
}

func open(t testing.TB, dir string) *history.History {
	t.Helper()
	h, err := history.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// files reads a folder the way a snapshot of a definition does.
func files(t testing.TB, dir string) []graph.File {
	t.Helper()
	var list []graph.File
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		f, err := fileAt(path, d)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		f.Path = filepath.ToSlash(name)
		list = append(list, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func fileAt(path string, d fs.DirEntry) (graph.File, error) {
	info, err := d.Info()
	if err != nil {
		return graph.File{}, err
	}
	f := graph.File{Mode: info.Mode()}
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		f.Link, err = os.Readlink(path)
	case 0:
		f.Data, err = os.ReadFile(path)
	}
	return f, err
}

// wantChanged asks about a folder of the tree at dir.
func wantChanged(t *testing.T, h *history.History, dir, definition string, want bool) {
	t.Helper()
	var now []graph.File
	if _, err := os.Stat(filepath.Join(dir, definition)); err == nil {
		now = files(t, filepath.Join(dir, definition))
	}
	got, err := h.Changed(definition, now)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("Changed(%q) = %v, want %v", definition, got, want)
	}
}
