package enginetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// remote is a tree that is built on a stock buildkitd behind a proxy.
type remote struct {
	*Tree
	stock *Stock
	proxy *Proxy
	mark  string // of core-sleep
}

// needStock compiles a stock buildkitd, or skips the test.
func needStock(t *testing.T) {
	t.Helper()
	if os.Getenv("SX_TEST_STOCK") != "1" {
		t.Skip("SX_TEST_STOCK=1 compiles a stock buildkitd to build on")
	}
	if err := programs.BuildStock("buildkitd", "buildctl"); err != nil {
		t.Fatal(err)
	}
}

func newRemote(t *testing.T, tree *Tree) *remote {
	t.Helper()
	needStock(t)
	r := &remote{Tree: tree, stock: StartStockTLS(t, programs)}
	r.proxy = StartProxy(t, fmt.Sprintf("127.0.0.1:%d", r.stock.port))
	r.Env = append(r.Env, "SX_ENGINE_ADDRESS=tcp://"+r.proxy.Addr, "SX_ENGINE_TLSDIR="+r.stock.certs)
	return r
}

// newRemoteSleeper is a tree whose core-sleep sleeps; core-first is finished
// before.
func newRemoteSleeper(t *testing.T) *remote {
	t.Helper()
	tree, mark := newSleeper(t, 2*time.Second)
	r := newRemote(t, tree)
	r.mark = mark
	r.Write("packages/core/first/package.toml", []byte("[package]\nname = \"first\"\nversion = \"1\"\n"))
	r.Write("packages/core/first/Containerfile", []byte("FROM scratch\nCOPY file /\n"))
	r.Write("packages/core/first/file", []byte("first\n"))
	containerfile := r.Read("packages/core/sleep/Containerfile")
	r.Write("packages/core/sleep/Containerfile", []byte(containerfile+"COPY --from=stagex/core-first /file /first\n"))
	return r
}

// wantSame compares with the embedded engine's output for the same tree.
func (r *remote) wantSame() {
	r.t.Helper()
	got := r.Digest("core-sleep")
	embedded := slices.Clone(r.Env)
	r.Env = append(embedded, "SX_ENGINE_ADDRESS=embedded")
	r.Sx("build", "core-sleep", "--no-cache")
	if want := r.Digest("core-sleep"); got != want || got == "" {
		r.t.Errorf("digest %q, want %q as the embedded engine makes it", got, want)
	}
}

// A connection that breaks during a build is made again, and finished outputs are
// not built again.
func TestRemoteCut(t *testing.T) {
	t.Parallel()
	r := newRemoteSleeper(t)
	run := r.Start("build", "core-sleep")
	r.Sleeping(r.mark)
	r.proxy.Cut(false)
	run.Want(0)
	if n := strings.Count(run.Stderr.String(), "core-first: built"); n != 1 {
		t.Errorf("core-first was built %d times:\n%s", n, &run.Stderr)
	}
	r.wantSame()
}

// If it cannot be made again, the run ends with one error and no partial output; the
// next run continues.
func TestRemoteCutForGood(t *testing.T) {
	t.Parallel()
	r := newRemoteSleeper(t)
	r.Env = append(r.Env, "SX_ENGINE_RECONNECT=1s")
	run := r.Start("build", "core-sleep")
	r.Sleeping(r.mark)
	r.proxy.Cut(true)
	run.Want(6)
	log := run.Stderr.String()
	if n := strings.Count(log, "sx: the engine was lost and cannot be reached again: the engine tcp://"+r.proxy.Addr+" cannot be used: "); n != 1 {
		t.Errorf("not one clear error:\n%s", log)
	}
	if n := strings.Count(log, "meanwhile nothing is built, and sx tries again for 1s"); n != 1 {
		t.Errorf("it is told %d times that sx waits:\n%s", n, log)
	}
	if _, err := os.Stat(r.Path("out/core-sleep")); err == nil {
		t.Error("there is an output")
	}
	r.proxy.Mend()
	again := r.Start("build", "core-sleep").Want(0)
	if strings.Contains(again.Stderr.String(), "core-first: built") {
		t.Errorf("core-first was built again:\n%s", &again.Stderr)
	}
	r.wantSame()
}

// An engine that is killed during a build and comes back continues with the right
// bytes.
func TestRemoteKilled(t *testing.T) {
	t.Parallel()
	r := newRemoteSleeper(t)
	run := r.Start("build", "core-sleep")
	r.Sleeping(r.mark)
	r.stock.Kill()
	for _, pid := range Running(r.mark) { // its container does not die with it
		unix.Kill(pid, unix.SIGKILL)
	}
	r.stock.Start()
	run.Want(0)
	r.wantSame()
}

const travelling = `
-- packages/core/heavy/package.toml --
[package]
name = "heavy"
version = "1"
-- packages/core/heavy/Containerfile --
FROM scratch
COPY noise /
-- packages/core/from/package.toml --
[package]
name = "from"
version = "1"
-- packages/core/from/Containerfile --
FROM stagex/core-heavy
COPY package.toml /
-- packages/core/copy/package.toml --
[package]
name = "copy"
version = "1"
-- packages/core/copy/Containerfile --
FROM scratch
COPY --from=stagex/core-heavy /noise /again
COPY package.toml /
`

// A dependency is sent to an engine once, by digest, for all builds and runs of sx;
// blobs that out/ has are not sent back.
func TestRemoteTravelsOnce(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	r := newRemote(t, NewTree(t, programs, "", travelling))
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(noise)
	r.Write("packages/core/heavy/noise", noise)
	r.Env = append(r.Env, "SX_ENGINE_ADDRESS=embedded")
	r.Sx("build", "core-heavy")
	r.Env = r.Env[:len(r.Env)-1]
	for _, c := range []struct {
		what           string
		args           []string
		sent, received bool // as much as the dependency
	}{
		{"the first build that needs it", []string{"build", "core-from"}, true, false},
		{"the same again", []string{"build", "core-from", "--no-cache"}, false, false},
		{"another that copies from it", []string{"build", "core-copy"}, false, true},
	} {
		run := r.Start(append(c.args, "-v")...).Want(0)
		m := moved.FindStringSubmatch(run.Stderr.String())
		if m == nil {
			t.Fatalf("%s: the log does not say how many bytes of layers passed:\n%s", c.what, &run.Stderr)
		}
		sent, _ := strconv.Atoi(m[1])
		received, _ := strconv.Atoi(m[2])
		t.Logf("%s: %d sent, %d received", c.what, sent, received)
		if c.sent != (sent > size) || sent > size+size/2 {
			t.Errorf("%s: %d bytes sent", c.what, sent)
		}
		if c.received != (received > size) || received > size+size/2 {
			t.Errorf("%s: %d bytes received", c.what, received)
		}
	}
}

// A damaged blob in the cache of an engine that others use too is reported, and the
// cache stays as it is.
func TestRemoteDamaged(t *testing.T) {
	t.Parallel()
	r := newRemote(t, NewTree(t, programs, "", travelling))
	r.Write("packages/core/heavy/noise", []byte("noise\n"))
	r.Sx("build", "core-heavy")
	blobs, err := filepath.Glob(filepath.Join(r.stock.Dir, "root", "*", "content", "blobs", "sha256", "*"))
	r.must(err)
	for _, path := range blobs {
		data, err := os.ReadFile(path)
		r.must(err)
		data[len(data)-1] ^= 1
		r.must(os.Chmod(path, 0o644))
		r.must(os.WriteFile(path, data, 0o644))
	}
	r.must(os.RemoveAll(r.Path("out")))
	log := r.Start("build", "core-heavy").Want(6).Stderr.String()
	if !strings.Contains(log, "a blob in its cache is damaged") || !strings.Contains(log, "empty its cache: buildctl prune --all, or docker builder prune --all") {
		t.Errorf("not said:\n%s", log)
	}
	if _, err := os.Stat(r.Path("out/core-heavy")); err == nil {
		t.Error("there is an output")
	}
	if left, _ := filepath.Glob(blobs[0]); left == nil {
		t.Error("the cache was emptied")
	}
}

// The xz of an engine elsewhere may know few filters, and BuildKit would copy the
// archive without an error: sx asks the engine, and refuses.
func TestRemoteXZ(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", "")
	for _, filter := range []string{"lzma2", "x86"} {
		toml := "[package]\nname = \"" + filter + "\"\n" + tree.Source("core/"+filter, "a.tar.xz", tree.tarXZ(filter))
		tree.Write("packages/core/"+filter+"/package.toml", []byte(toml))
		tree.Write("packages/core/"+filter+"/Containerfile", []byte("FROM scratch AS a\nADD fetch/a.tar.xz /\nFROM scratch\nCOPY --from=a /code /\n"))
	}
	r := newRemote(t, tree)
	r.Sx("build", "--all")
	r.stock.Kill()
	r.must(os.RemoveAll(filepath.Join(r.stock.Dir, "root")))
	r.stock.env = append(r.stock.env, withPath(fakeProgram(t, "xz", `
f=$(mktemp) && cat >$f
[ "$(head -c 14 $f | tail -c 1 | od -An -tu1)" -eq 0 ] || exit 1 # more filters than lzma2
exec /usr/bin/xz -dc <$f`)))
	r.stock.Start()
	run := r.Start("build", "--all", "--no-cache", "-k").Want(6)
	if log := run.Stderr.String(); !strings.Contains(log, "its xz cannot unpack fetch/a.tar.xz (filters x86, lzma2") || !strings.Contains(log, "1 built") {
		t.Errorf("the filter is not named, or too much is refused:\n%s", log)
	}
}
