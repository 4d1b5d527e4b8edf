package history_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// traps configures everything of git's that names a program, so that each would create the file it returns.
func traps(r repo) (ran string) {
	dir := r.t.TempDir()
	ran = filepath.Join(dir, "ran")
	trap := filepath.Join(dir, "trap")
	r.must(os.WriteFile(trap, []byte("#!/bin/sh\n>"+ran+"\ncat\n"), 0o755))
	for _, key := range []string{
		"core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy", "core.alternateRefsCommand",
		"diff.external", "diff.trap.command", "diff.trap.textconv", "filter.trap.clean", "filter.trap.smudge", "filter.trap.process",
		"credential.helper", "gpg.program", "uploadpack.packObjectsHook", "merge.trap.driver", "alias.log", "sequence.editor",
	} {
		r.git("config", key, trap)
	}
	r.git("config", "core.hooksPath", dir)
	for _, hook := range []string{"post-checkout", "post-index-change", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman"} {
		r.must(os.Link(trap, filepath.Join(dir, hook)))
		r.must(os.Link(trap, r.path(".git/hooks/"+hook)))
	}
	r.git("config", "filter.trap.required", "true")
	r.write(".gitattributes", "* filter=trap diff=trap merge=trap\n")
	return ran
}

func TestNothingOfTheConfigurationRuns(t *testing.T) {
	r := published(t)
	ran := traps(r)

	h := r.open()
	wantChanged(t, h, r.dir, "packages/core/a", false)
	wantChanged(t, h, r.dir, "packages/core/b", true)
	if _, err := h.PublishedDigests("core.txt"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(ran); err == nil {
		t.Error("a program of the tree's git configuration ran")
	}

	// The trap is a real one: git itself falls into it.
	cmd := exec.Command("git", "status")
	cmd.Dir = r.dir
	_ = cmd.Run()
	if _, err := os.Lstat(ran); err != nil {
		t.Error("the trap does not work, so this test shows nothing")
	}
}

// damage overwrites a loose object, as a disk may.
func damage(r repo, what string) {
	r.t.Helper()
	hash := r.git("rev-parse", what)
	path := r.path(".git/objects/" + hash[:2] + "/" + hash[2:])
	r.must(os.Chmod(path, 0o644))
	r.must(os.WriteFile(path, []byte("garbage"), 0o644))
}

// TestObjectBombs: what a few kilobytes become is not kept in memory.
func TestObjectBombs(t *testing.T) {
	for name, content := range map[string]func() string{
		"body":   func() string { return "tree 100\x00" + strings.Repeat("\x00", 40<<20) },
		"header": func() string { return strings.Repeat("a", 40<<20) },
	} {
		r := published(t)
		hash := r.git("rev-parse", "HEAD:packages/core/a")
		path := r.path(".git/objects/" + hash[:2] + "/" + hash[2:])
		r.must(os.Chmod(path, 0o644))
		var packed bytes.Buffer
		w := zlib.NewWriter(&packed)
		io.WriteString(w, content())
		r.must(errors.Join(w.Close(), os.WriteFile(path, packed.Bytes(), 0o644)))
		h := r.open()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := h.Changed("packages/core/a", nil)
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; !errors.Is(err, history.ErrNoHistory) || mb > 20 {
			t.Errorf("%s: %d MB, %v", name, mb, err)
		}
	}
}

// TestOneDamagedObject: it makes nothing unknown but what depends on it.
func TestOneDamagedObject(t *testing.T) {
	r := published(t)
	damage(r, "HEAD:packages/core/a")
	damage(r, "HEAD:digests/core.txt")
	h := r.open()
	if _, err := h.Changed("packages/core/a", nil); !errors.Is(err, history.ErrNoHistory) {
		t.Errorf("of the damaged folder: %v", err)
	}
	if _, err := h.PublishedDigests("core.txt"); !errors.Is(err, history.ErrNoHistory) {
		t.Errorf("of the damaged file: %v", err)
	}
	wantChanged(t, h, r.dir, "packages/core/b", true)
	if _, err := h.PublishedDigests("user.txt"); err != nil {
		t.Error(err)
	}
}

func TestNothingIsWritten(t *testing.T) {
	r := published(t)
	before := snapshot(t, r.dir)
	h := r.open()
	wantChanged(t, h, r.dir, "packages/core/b", true)
	if after := snapshot(t, r.dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%p %m %s %T@ %C@\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestEnvironmentDoesNotCount(t *testing.T) {
	r, other := published(t), newRepo(t)
	want := r.git("rev-parse", "HEAD~1")
	t.Setenv("GIT_DIR", other.path(".git"))
	t.Setenv("GIT_OBJECT_DIRECTORY", other.path(".git/objects"))
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "extensions.objectFormat")
	t.Setenv("GIT_CONFIG_VALUE_0", "sha256")
	wantAt(t, r.open(), want)
}

func TestGitFileOfAnother(t *testing.T) {
	victim := published(t)
	victim.git("worktree", "add", "-q", filepath.Join(t.TempDir(), "wt"))
	tests := []struct{ name, content, want string }{
		{"a repository", "gitdir: " + victim.path(".git") + "\n", "does not say whose it is"},
		{"a worktree's git folder", "gitdir: " + victim.path(".git/worktrees/wt") + "\n", "the git folder of another checkout"},
		{"a secret", "gitdir: /etc/passwd\n", "following"},
		{"nowhere", "gitdir: /nonexistent\n", "no such file"},
		{"no mark", victim.path(".git"), "it holds no path"},
		{"empty", "", "it holds no path"},
		{"huge", "gitdir: " + strings.Repeat("a/", 1<<20), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := repo{t, t.TempDir()}
			r.write(".git", tt.content)
			wantNone(t, r.dir, tt.want)
		})
	}
}

func TestGitFolderOfAnother(t *testing.T) {
	victim := published(t)
	tests := []struct {
		name  string
		plant func(repo)
		want  string
	}{
		{".git is a link", func(r repo) { r.remove(".git"); r.symlink(".git", victim.path(".git")) }, "neither a folder nor a file"},
		{".git is a pipe", func(r repo) { r.remove(".git"); r.must(syscall.Mkfifo(r.path(".git"), 0o644)) }, "neither a folder nor a file"},
		{"commondir", func(r repo) { r.write(".git/commondir", victim.path(".git")+"\n") }, "in which it does not lie"},
		{"HEAD is a link", func(r repo) { r.remove(".git/HEAD"); r.symlink(".git/HEAD", victim.path(".git/HEAD")) }, "reading HEAD"},
		{"HEAD is a pipe", func(r repo) { r.remove(".git/HEAD"); r.must(syscall.Mkfifo(r.path(".git/HEAD"), 0o644)) }, ""},
		{"HEAD is nonsense", func(r repo) { r.write(".git/HEAD", "\x00nonsense\n") }, `the file HEAD of the git folder holds "\x00nonsense", but must hold`},
		{"HEAD is empty", func(r repo) { r.write(".git/HEAD", "") }, `the file HEAD of the git folder holds "", but must hold`},
		{"HEAD is a folder", func(r repo) { r.remove(".git/HEAD"); r.write(".git/HEAD/x", "") }, "not a regular file"},
		{"a branch is nonsense", func(r repo) { r.write(".git/refs/heads/main", "nonsense") }, "the file refs/heads/main of the git folder holds"},
		{"packed-refs is nonsense", func(r repo) { r.remove(".git/refs/heads/main"); r.write(".git/packed-refs", "x refs/heads/main\n") }, "packed-refs gives"},
		{"HEAD leads out", func(r repo) { r.write(".git/HEAD", "ref: ../../../../etc/passwd\n") }, ""},
		{"HEAD leads in circles", func(r repo) { r.write(".git/HEAD", "ref: HEAD\n") }, "HEAD"},
		{"refs are a link", func(r repo) { r.remove(".git/refs"); r.symlink(".git/refs", victim.path(".git/refs")) }, ""},
		{"objects are a link", func(r repo) { r.remove(".git/objects"); r.symlink(".git/objects", victim.path(".git/objects")) }, ""},
		{"config is a link", func(r repo) { r.remove(".git/config"); r.symlink(".git/config", "/etc/passwd") }, "escapes"},
		{"config is nonsense", func(r repo) { r.write(".git/config", "[core\n\x00") }, "reading the git configuration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := published(t)
			tt.plant(r)
			wantNone(t, r.dir, tt.want)
		})
	}
}

// The definitions' objects lie with the victim; without alternates nothing of them is known.
func TestAlternatesAreNotFollowed(t *testing.T) {
	victim := published(t)
	r := clone(t, victim)
	r.remove(".git/objects")
	r.must(os.MkdirAll(r.path(".git/objects/info"), 0o755))
	for _, alternate := range []string{victim.path(".git/objects"), "/nonexistent", "../../../.."} {
		r.write(".git/objects/info/alternates", alternate+"\n")
		wantNone(t, r.dir, "lies in another repository")
	}
}

func TestRepositoryOfAnotherUserAbove(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("only root can give a folder away; the rest of the test is the same owner")
		return
	}
	r := newRepo(t)
	r.write("tree/digests/core.txt", "1111 core-a\n")
	r.commit("planted")
	r.must(os.Chown(r.path("tree"), 12345, 12345))
	wantNone(t, r.path("tree"), "belongs to another user")
}

// Broken bytes anywhere in the repository are an answer or an ErrNoHistory, never a panic or a hang.
func TestBrokenObjects(t *testing.T) {
	for name, prepare := range map[string]func(repo){
		"loose":  func(repo) {},
		"packed": func(r repo) { r.git("gc", "-q", "--prune=now") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := published(t)
			prepare(r)
			err := filepath.WalkDir(r.path(".git/objects"), func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return breakFile(t, r, path)
			})
			r.must(err)
		})
	}
}

func breakFile(t *testing.T, r repo, path string) error {
	good, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o644); err != nil {
		return err
	}
	for i := 0; i < len(good); i += 1 + len(good)/40 {
		for _, bad := range [][]byte{flip(good, i), good[:i]} {
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				return err
			}
			ask(t, r, path)
		}
	}
	return os.WriteFile(path, good, 0o644)
}

func flip(good []byte, at int) []byte {
	bad := append([]byte(nil), good...)
	bad[at] ^= 0xff
	return bad
}

func ask(t *testing.T, r repo, broken string) {
	t.Helper()
	h, err := history.Open(r.dir)
	if err == nil {
		_, err = h.Changed("packages/core/a", nil)
		_ = h.Close()
	}
	if err != nil && !strings.Contains(err.Error(), history.ErrNoHistory.Error()) {
		t.Errorf("with %s broken: %v", broken, err)
	}
}
