package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// patience bounds every wait.
const patience = 90 * time.Second

// Tree is a StageX tree of a test, with the environment in which sx runs in it.
type Tree struct {
	Dir string
	Env []string // over the environment of the test
	// Patience with each run of sx; 0: patience.
	Patience time.Duration

	user *syscall.Credential // who runs sx; nil: root
	sx   string
	t    testing.TB
}

// NewTree makes a tree at dir (a new folder if it is empty) from a txtar archive. A
// definition with a folder tool/ in its Containerfile's context gets the tool. When
// the test ends, nothing of the tree's engine may remain.
func NewTree(t testing.TB, p Programs, dir, archive string) *Tree {
	t.Helper()
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "tree")
	}
	state := t.TempDir()
	tree := &Tree{Dir: dir, sx: p.Sx(), t: t, Env: []string{
		"HOME=" + state, "XDG_STATE_HOME=" + state, "XDG_CONFIG_HOME=" + state, "NO_PROXY=127.0.0.1",
	}}
	tree.mkdir("packages/core")
	for _, f := range txtar.Parse([]byte(archive)).Files {
		tree.Write(f.Name, f.Data)
		if strings.HasSuffix(f.Name, "/Containerfile") && bytes.Contains(f.Data, []byte("COPY tool ")) {
			tool, err := os.ReadFile(p.Tool())
			tree.must(err)
			path := filepath.Dir(f.Name) + "/tool"
			tree.Write(path, tool)
			tree.must(os.Chmod(tree.Path(path), 0o755))
		}
	}
	t.Cleanup(tree.stopEngine)
	return tree
}

// Examples returns a copy of the example tree.
func Examples(t testing.TB, p Programs, dir string) *Tree {
	t.Helper()
	tree := NewTree(t, p, dir, "")
	for _, part := range []string{"packages", "fetch", "digests"} {
		tree.must(os.CopyFS(tree.Path(part), os.DirFS(filepath.Join("../../examples", part))))
	}
	return tree
}

// Path returns a path in the tree.
func (t *Tree) Path(elem ...string) string {
	return filepath.Join(append([]string{t.Dir}, elem...)...)
}

// Write writes a file of the tree, mode 0644.
func (t *Tree) Write(name string, data []byte) {
	t.t.Helper()
	t.mkdir(filepath.Dir(name))
	t.must(os.WriteFile(t.Path(name), data, 0o644))
}

// Read reads a file of the tree.
func (t *Tree) Read(name string) string {
	t.t.Helper()
	data, err := os.ReadFile(t.Path(name))
	t.must(err)
	return string(data)
}

// Source writes a source where sx fetch would, and returns its section of
// package.toml.
func (t *Tree) Source(origin, file string, data []byte) string {
	t.t.Helper()
	t.Write("fetch/"+origin+"/"+file, data)
	key, _, _ := strings.Cut(file, ".")
	return fmt.Sprintf("\n[sources.%s]\nhash = \"%x\"\nmirrors = [\"https://example.org/%s\"]\n", key, sha256.Sum256(data), file)
}

// copyTree makes to a copy of the folder from, with all properties of its files.
func copyTree(from, to string) error {
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(filepath.Dir(to), 0o755)); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp -a %s %s: %w: %s", from, to, err, out)
	}
	return nil
}

func (t *Tree) mkdir(name string) {
	t.t.Helper()
	t.must(os.MkdirAll(t.Path(name), 0o755))
}

func (t *Tree) must(err error) {
	t.t.Helper()
	if err != nil {
		t.t.Fatal(err)
	}
}

// Run is one run of sx.
type Run struct {
	Cmd            *exec.Cmd
	Stdout, Stderr Buffer
	tree           *Tree
	stop           context.CancelFunc
}

// Start starts sx in the tree.
func (t *Tree) Start(args ...string) *Run {
	t.t.Helper()
	return t.StartWith(t.sx, args...)
}

// StartWith starts another program, such as an sx of another build.
func (t *Tree) StartWith(program string, args ...string) *Run {
	t.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), cmp.Or(t.Patience, patience))
	r := &Run{Cmd: exec.CommandContext(ctx, program, args...), tree: t, stop: stop}
	r.Cmd.Dir = t.Dir
	r.Cmd.Env = append(os.Environ(), t.Env...)
	r.Cmd.Stdout, r.Cmd.Stderr = &r.Stdout, &r.Stderr
	if t.user != nil {
		r.Cmd.SysProcAttr = &syscall.SysProcAttr{Credential: t.user}
	}
	t.must(r.Cmd.Start())
	return r
}

// Wait returns the exit code, -1 after a kill.
func (r *Run) Wait() int {
	r.tree.t.Helper()
	defer r.stop()
	err := r.Cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.tree.t.Errorf("running sx: %v", err)
	}
	return r.Cmd.ProcessState.ExitCode()
}

// Want waits and fails the test unless sx ends with the exit code.
func (r *Run) Want(code int) *Run {
	r.tree.t.Helper()
	if got := r.Wait(); got != code {
		r.tree.t.Fatalf("sx %q: exit code %d, want %d\n%s%s", r.Cmd.Args[1:], got, code, &r.Stdout, &r.Stderr)
	}
	return r
}

// Sx runs sx to its end, which must be exit code 0, and returns stdout.
func (t *Tree) Sx(args ...string) string {
	t.t.Helper()
	return t.Start(args...).Want(0).Stdout.String()
}

// Digest returns the digest of an output, which it builds if necessary.
func (t *Tree) Digest(output string) string {
	t.t.Helper()
	digest, _, _ := strings.Cut(t.Sx("digests", output), " ")
	return digest
}
