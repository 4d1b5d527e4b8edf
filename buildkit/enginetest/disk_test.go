package enginetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// heavy has an output of 30 MB and one that depends on it.
const heavy = `
-- packages/core/light/package.toml --
[package]
name = "light"
-- packages/core/light/Containerfile --
FROM scratch
COPY package.toml /
-- packages/core/heavy/package.toml --
[package]
name = "heavy"
-- packages/core/heavy/Containerfile --
FROM stagex/core-light
COPY noise /
-- packages/core/top/package.toml --
[package]
name = "top"
-- packages/core/top/Containerfile --
FROM stagex/core-heavy
COPY package.toml /
`

// newSmallDisk returns a tree with heavy on a filesystem of its own.
func newSmallDisk(t *testing.T, mebibytes int) (tree *Tree, resize func(mebibytes int)) {
	t.Helper()
	disk := t.TempDir()
	size := func(n int) string { return fmt.Sprintf("size=%dm", n) }
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, size(mebibytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a dead engine's mounts are gone a little after it
		Until(t, 10*time.Second, "nothing uses the disk", func() bool { return unix.Unmount(disk, 0) == nil })
	})
	tree = NewTree(t, programs, filepath.Join(disk, "tree"), heavy)
	tree.Env = append(tree.Env, "SX_BUILD_DISK_FLOOR=0")
	noise := make([]byte, 30<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	tree.Write("packages/core/heavy/noise", noise)
	return tree, func(n int) { tree.must(unix.Mount("", disk, "", unix.MS_REMOUNT, size(n))) }
}

// If the disk fills up during a build, the exit code is 7 and finished outputs stay;
// with more room the same command continues.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	tree, resize := newSmallDisk(t, 100)
	log := tree.Start("build", "--all", "-k").Want(7).Stderr.String()
	for _, want := range []string{"the disk is full", "free some space (sx gc) and run the same command again", "1 built", "not run"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	light := tree.Digest("core-light")
	resize(400)
	log = tree.Start("build", "--all").Want(0).Stderr.String()
	if !strings.Contains(log, "2 built, 1 up to date") {
		t.Errorf("it did not go on where it was:\n%s", log)
	}
	if got := tree.Digest("core-light"); got != light {
		t.Errorf("core-light was %s, is %s", light, got)
	}
}

// A program of a build that fails because the disk is full ends the run too: its
// exit code would blame the definition.
func TestDiskFullInRun(t *testing.T) {
	t.Parallel()
	tree, _ := newSmallDisk(t, 100)
	tree.must(os.RemoveAll(tree.Path("packages/core/heavy")))
	tree.must(os.RemoveAll(tree.Path("packages/core/top")))
	tool, err := os.ReadFile(programs.Tool())
	tree.must(err)
	tree.Write("packages/core/fill/tool", tool)
	tree.must(os.Chmod(tree.Path("packages/core/fill/tool"), 0o755))
	tree.Write("packages/core/fill/package.toml", []byte("[package]\nname = \"fill\"\n"))
	tree.Write("packages/core/fill/Containerfile", []byte("FROM scratch\nCOPY tool /\nRUN --network=none [\"/tool\", \"fill\", \"/big\"]\n"))
	log := tree.Start("build", "--all", "-k").Want(7).Stderr.String()
	if !strings.Contains(log, "the disk is full") || !strings.Contains(log, "free some space (sx gc)") {
		t.Errorf("the disk is not named:\n%s", log)
	}
}

// If a build brings the disk below the floor, it is finished and kept, and no other
// starts.
func TestDiskFloor(t *testing.T) {
	t.Parallel()
	tree, resize := newSmallDisk(t, 300)
	log := tree.Start("build", "--all", "-k", "--disk-floor", "220MiB").Want(7).Stderr.String()
	for _, want := range []string{"less than the floor of 220MiB", "2 built, 0 up to date", "0 failed, 0 skipped, 1 not run"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	resize(600)
	log = tree.Start("build", "--all", "-k", "--disk-floor", "220MiB").Want(0).Stderr.String()
	if !strings.Contains(log, "1 built, 2 up to date") {
		t.Errorf("it did not go on where it was:\n%s", log)
	}
}

// Below the floor downloads end too. Their partial files stay, and the next run
// resumes them.
func TestDiskFloorEndsDownloads(t *testing.T) {
	t.Parallel()
	tree, resize := newSmallDisk(t, 300)
	source := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{2}).Read(source)
	var hangs atomic.Bool
	hangs.Store(true)
	gone := make(chan struct{})
	var ranges sync.Map
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges.Store(r.Header.Get("Range"), true)
		if !hangs.Load() {
			http.ServeContent(w, r, "source", time.Unix(1, 0), bytes.NewReader(source))
			return
		}
		w.Header().Set("Last-Modified", time.Unix(1, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", fmt.Sprint(len(source)))
		w.Write(source[:1<<20])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(mirror.Close)
	tree.Write("packages/core/late/package.toml", fmt.Appendf(nil, "[package]\nname = \"late\"\n[sources.source]\nhash = \"%x\"\nmirrors = [%q]\n", sha256.Sum256(source), mirror.URL+"/source"))
	tree.Write("packages/core/late/Containerfile", []byte("FROM scratch\nADD fetch/source /\n"))
	log := tree.Start("build", "--all", "-k", "--disk-floor", "220MiB").Want(7).Stderr.String()
	if !strings.Contains(log, "less than the floor of 220MiB") || !strings.Contains(log, "2 not run") {
		t.Errorf("the floor did not end the run:\n%s", log)
	}
	<-gone
	hangs.Store(false)
	resize(600)
	log = tree.Start("build", "--all", "-k", "--disk-floor", "220MiB").Want(0).Stderr.String()
	if !strings.Contains(log, "2 built, 2 up to date") {
		t.Errorf("it did not go on where it was:\n%s", log)
	}
	if _, resumed := ranges.Load("bytes=1048576-"); !resumed {
		var asked []any
		ranges.Range(func(r, _ any) bool { asked = append(asked, r); return true })
		t.Errorf("what was downloaded was not kept: the mirror was asked for %q", asked)
	}
}
