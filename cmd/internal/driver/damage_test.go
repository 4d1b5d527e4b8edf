package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// TestVerifySources finds a source in fetch/ that is not what the definition names,
// whatever its times are. A missing source is not wrong, and a source behind a link
// is not called damaged.
func TestVerifySources(t *testing.T) {
	p := newPretender(t)
	for _, name := range []string{"good", "bad", "missing", "folder", "linked"} {
		sum := strings.TrimPrefix(oci.DigestOf([]byte(name)).String(), "sha256:")
		p.write("core/"+name+"/package.toml", fmt.Sprintf(`[package]
name = %q
version = "1"
[sources.s]
hash = %q
file = "file"
mirrors = ["https://example.org/file"]
`, name, sum))
		p.write("core/"+name+"/Containerfile", "FROM scratch\nCOPY --from=fetch file /\n")
	}
	edit(t, filepath.Join(p.dir, "fetch/core/good/file"), "good")
	edit(t, filepath.Join(p.dir, "fetch/core/bad/file"), "bat")
	p.must(os.MkdirAll(filepath.Join(p.dir, "fetch/core/folder/file"), 0o755))
	elsewhere := t.TempDir()
	edit(t, filepath.Join(elsewhere, "file"), "linked")
	p.must(os.Symlink(elsewhere, filepath.Join(p.dir, "fetch/core/linked")))
	tree := p.open()
	wrong, err := VerifySources(t.Context(), tree.Tree, tree.Graph.Definitions())
	p.must(err)
	var got []string
	for _, w := range wrong {
		got = append(got, fmt.Sprint(w.Path, " ", w.Unreached && w.Linked))
	}
	if fmt.Sprint(got) != "[fetch/core/bad/file false fetch/core/folder/file false fetch/core/linked/file true]" {
		t.Errorf("wrong are %v", wrong)
	}
}

// TestSystemError checks that a file which the system could not read is told from one that
// is not what it should be.
func TestSystemError(t *testing.T) {
	for _, no := range []syscall.Errno{syscall.EMFILE, syscall.EACCES, syscall.EIO} {
		if !isSystemError(&fs.PathError{Op: "open", Path: "x", Err: no}) {
			t.Errorf("%v is not the system's", no)
		}
	}
	for _, err := range []error{nil, fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP, errors.New("path escapes from parent")} {
		if isSystemError(err) {
			t.Errorf("%v is the system's", err)
		}
	}
}

// TestFailureDoubtsSources checks that a failed build names a source that changed on
// the disk during the build.
func TestFailureDoubtsSources(t *testing.T) {
	p := newPretender(t)
	sum := strings.TrimPrefix(oci.DigestOf([]byte("whole")).String(), "sha256:")
	p.write("core/a/package.toml", "[package]\nname = \"a\"\nversion = \"1\"\n[sources.s]\nhash = \""+sum+"\"\nfile = \"file\"\nmirrors = [\"https://example.org/file\"]\n")
	p.write("core/a/Containerfile", "FROM scratch\nCOPY --from=fetch file /\n")
	tree := p.open()
	r := &run{Tree: tree.Tree}
	step := &plan.Step{Output: tree.Graph.Output(graph.Ref{Stage: "core", Name: "a"})}
	failed := errors.New("failed")
	edit(t, filepath.Join(p.dir, "fetch/core/a/file"), "whole")
	if err := r.recheckSources(t.Context(), step, failed); err != failed {
		t.Errorf("of a whole source: %v", err)
	}
	edit(t, filepath.Join(p.dir, "fetch/core/a/file"), "whale")
	if err := r.recheckSources(t.Context(), step, failed); !errors.Is(err, failed) || !strings.Contains(err.Error(), "fetch/core/a/file is not what it was verified to be") {
		t.Errorf("of a damaged source: %v", err)
	}
}

// unreadable is a checkout with a file that cannot be read.
type unreadable struct {
	fs.FS
	path string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.path {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("input/output error")}
	}
	return u.FS.Open(name)
}

// TestUnreadableDefinition checks that an output whose definition cannot be read
// keeps no other from its verdict.
func TestUnreadableDefinition(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c:")
	p.write("core/a/file", "")
	p.published("a", "b", "c")
	tree := p.open()
	tree.FS = unreadable{tree.FS, "packages/core/a/file"}
	for _, v := range (&verdict.Judge{View: tree}).All(tree.Graph.All()) {
		want := map[string]string{"a": "UNPROVEN", "b": "MATCH given 1 unproven input", "c": "MATCH"}[v.Ref.Name]
		if v.String() != want {
			t.Errorf("%s is %s (%s), want %s", v.Ref, v, v.Note, want)
		}
	}
}

// TestDefinitionChangedOnDisk checks that sx forgets a definition whose bytes are
// not the remembered ones. Otherwise a disk that changed it without changing its
// times would fail every later run.
func TestDefinitionChangedOnDisk(t *testing.T) {
	p := newPretender(t, "a:")
	open := func() *tree.View {
		tree, err := tree.Open(t.Context(), p.dir, tree.Options{
			KeyFile: filepath.Join(p.dir, "key"), Build: "test",
			Now: func() time.Time { return time.Now().Add(time.Hour) },
		})
		p.must(err)
		return tree
	}
	p.must(open().Close()) // makes the store
	p.must(open().Close()) // remembers
	tree := open()
	defer tree.Close()
	d := tree.Graph.Output(graph.Ref{Stage: "core", Name: "a"}).Definition
	if tree.Memory.Items(d) == nil {
		t.Fatal("the definition is not remembered")
	}
	p.write("core/a/Containerfile", "FROM scratch\nCOPY . /new\n")
	if _, err := tree.Snapshot(d); err == nil || !strings.Contains(err.Error(), "run it again") {
		t.Fatalf("the change is not seen: %v", err)
	}
	if tree.Memory.Memory.Items(d.Dir) != nil {
		t.Error("it is still remembered")
	}
}

// TestDigestsDamaged checks that an output with a blob that was found damaged is not
// listed, also if sx did not build it; nor one with a blob that is missing or has
// another size, for which no blob is hashed.
func TestDigestsDamaged(t *testing.T) {
	p := newPretender(t, "a")
	p.build("a", "a layer")
	tree := p.open()
	ref := graph.Ref{Stage: "core", Name: "a"}
	p.must(tree.Store.Forget(ref.String()))
	p.must(os.RemoveAll(tree.Store.Dir("proofs")))
	layer := filepath.Join(p.dir, "out/core-a/blobs/sha256", oci.DigestOf([]byte(`"a layer"`)).Hex())
	listed := func() int {
		t.Helper()
		tree := p.open()
		found, _, damaged := publish.Digests(tree, []graph.Ref{ref})
		if len(found)+len(damaged) != 1 {
			t.Error(found, damaged)
		}
		return len(found)
	}
	if listed() != 1 {
		t.Fatal("a whole output is not listed")
	}
	edit(t, layer, `"A layer"`)
	if _, err := tree.Store.Verify(t.Context(), ref.String()); err == nil {
		t.Fatal("the damage was not found")
	}
	if listed() != 0 {
		t.Error("a damaged output is listed")
	}
	edit(t, layer, `"a layer"`)
	if listed() != 1 {
		t.Error("an output that is whole again is not listed")
	}
	for name, damage := range map[string]func() error{
		"cut short": func() error { return os.Truncate(layer, 1) }, "missing": func() error { return os.Remove(layer) },
	} {
		edit(t, layer, `"a layer"`)
		if p.must(damage()); listed() != 0 {
			t.Errorf("an output is listed whose layer is %s", name)
		}
	}
}
