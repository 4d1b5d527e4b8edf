package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/link"
)

// What only one engine builds, so that it has something to do however fast the others are:
// lastOutput is built after all others of a chain.
const (
	lastOutput = "user-last" // on b
	nearOutput = "user-near" // on b
	farOutput  = "user-far"  // on c
)

// fleetTree is a generated tree and what the embedded engine makes of it.
type fleetTree struct {
	*shape
	size    int
	digests string // a folder
}

// newFleetTree builds a tree of outputsEnv outputs on the embedded engine.
func newFleetTree(t *testing.T) *fleetTree {
	t.Helper()
	size := 48
	if text := os.Getenv(outputsEnv); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	f := &fleetTree{shape: newShape(size - 3), size: size}
	f.add(&member{name: lastOutput, narrow: []string{f.order[chainLength-1].name}})
	f.add(&member{name: nearOutput, narrow: []string{f.order[0].name}})
	f.add(&member{name: farOutput, narrow: []string{f.order[0].name}})
	tree := f.tree(t)
	tree.Sx("build", "--all", "--engine", "embedded")
	tree.Sx("digests", "--write")
	f.digests = tree.Path("digests")
	return f
}

func (f *fleetTree) tree(t *testing.T) *Tree {
	t.Helper()
	tree := NewTree(t, programs, "", "")
	tree.Patience = 4*patience + time.Duration(f.size)*8*time.Second // the runs share the machine, and are waited for one after the other
	f.write(tree)
	return tree
}

// fleet are engines, each in a network namespace of its own, which sx reaches by TLS.
type fleet struct {
	t     *testing.T
	net   *Network
	hosts map[string]*Host
	stock map[string]*Stock
	user  strings.Builder // the user's stagex.toml
}

// newFleet starts engines named by the letters of names. The one named c is far away.
func newFleet(t *testing.T, names string) *fleet {
	t.Helper()
	if os.Getenv("SX_TEST_STOCK") != "1" {
		t.Skip("SX_TEST_STOCK=1 compiles a stock buildkitd to build on")
	}
	if err := programs.BuildStock("buildkitd", "buildctl"); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, net: NewNetwork(t), hosts: map[string]*Host{}, stock: map[string]*Stock{}}
	for _, r := range names {
		name, rate := string(r), "100mbit"
		if name == "a" {
			rate = "1gbit"
		}
		h := f.net.Join(rate)
		s := &Stock{certs: MutualTLS(t), host: h.pid}
		address := h.Addr + ":1234"
		s.start(t, programs, "--addr", "tcp://"+address, "--tlscacert", s.certs+"/ca.pem",
			"--tlscert", s.certs+"/server.pem", "--tlskey", s.certs+"/server-key.pem")
		if name == "c" {
			address = f.net.Delay(address, 20*time.Millisecond)
		}
		f.hosts[name], f.stock[name] = h, s
		fmt.Fprintf(&f.user, "[engines.%s]\naddress = \"tcp://%s\"\njobs = 2\ntlsdir = %q\ntlsservername = \"builder.example.org\"\n", name, address, s.certs)
	}
	return f
}

// fleetRun is a build of a tree on engines of a fleet.
type fleetRun struct {
	*Run
	tree  *Tree
	of    *fleetTree
	name  string
	began time.Time
}

// start starts a build of everything on the named engines, without their caches.
func (f *fleet) start(of *fleetTree, name, names string) *fleetRun {
	f.t.Helper()
	tree := of.tree(f.t)
	user := f.user.String()
	if len(names) > 1 {
		user += "[packages." + lastOutput + "]\nengine = \"b\"\n[packages." + nearOutput + "]\nengine = \"b\"\n"
	}
	if strings.Contains(names, "c") {
		user += "[packages." + farOutput + "]\nengine = \"c\"\n"
	}
	file := filepath.Join(strings.TrimPrefix(tree.Env[0], "HOME="), "sx", "stagex.toml")
	tree.must(os.MkdirAll(filepath.Dir(file), 0o755))
	tree.must(os.WriteFile(file, []byte(user), 0o600))
	args := inside(f.net.pid, programs.Sx(), "build", "--all", "--no-cache", "--progress=rawjson")
	for _, r := range names {
		args = append(args, "--engine", string(r))
	}
	return &fleetRun{Run: tree.StartWith(args[0], args[1:]...), tree: tree, of: of, name: name, began: time.Now()}
}

// started returns how many builds have started on each engine; of only one, by "".
func (r *fleetRun) started() map[string]int {
	n := map[string]int{}
	for line := range strings.Lines(r.Stderr.String()) {
		var e struct{ Event, Engine string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Event == "build_start" {
			n[e.Engine]++
		}
	}
	return n
}

// untilStarted waits until so many builds have started on an engine since the run began.
func (r *fleetRun) untilStarted(engine string, n int) {
	r.tree.t.Helper()
	r.until(r.tree.Patience, engine+" builds", func() bool { return r.started()[engine] >= n })
}

// until waits for ok, and not longer than sx runs.
func (r *fleetRun) until(limit time.Duration, what string, ok func() bool) {
	r.tree.t.Helper()
	Until(r.tree.t, limit, what, func() bool { return ok() || r.ended() })
	Until(r.tree.t, 10*time.Second, what+", and sx has ended", ok) // its last words may be on their way
}

// untilSaid waits until sx has written a text.
func (r *fleetRun) untilSaid(text string, limit time.Duration) {
	r.tree.t.Helper()
	r.until(limit, "sx says "+text, func() bool { return strings.Contains(r.Stderr.String(), text) })
}

// saidAfter returns how long after a moment sx first wrote a text, which it has.
func (r *fleetRun) saidAfter(from time.Time, text string) time.Duration {
	for line := range strings.Lines(r.Stderr.String()) {
		var e struct{ Time time.Time }
		if strings.Contains(line, text) && json.Unmarshal([]byte(line), &e) == nil && e.Time.After(from) {
			return e.Time.Sub(from)
		}
	}
	return 0
}

// took returns how long the run took, by its events.
func (r *fleetRun) took() time.Duration {
	return r.saidAfter(r.began, `"event":"run_end"`).Round(time.Second)
}

// wantSame waits for the end, and wants the digests of the embedded engine.
func (r *fleetRun) wantSame() {
	r.tree.t.Helper()
	r.Want(0)
	r.tree.t.Logf("%s: %d outputs in %s, builds started on %v", r.name, r.of.size, r.took(), r.started())
	r.tree.must(os.CopyFS(r.tree.Path("digests"), os.DirFS(r.of.digests)))
	if out := r.tree.Sx("verify"); !strings.Contains(out, fmt.Sprintf("%d outputs: %d MATCH", r.of.size, r.of.size)) {
		r.tree.t.Errorf("on several engines:\n%s", out)
	}
}

// TestFleet builds a tree of upstream's shape on one, two and three engines, each in a
// network namespace of its own: one is cut off and joined again, one is killed and comes
// back, and one freezes while it builds. Each time the digests are those of the embedded
// engine.
func TestFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "abc")
	of := newFleetTree(t)

	// That an engine is frozen or cut off shows after a while; the rest runs meanwhile.
	cold := newFleet(t, "ab")
	frozen := cold.start(of, "frozen", "ab")
	frozen.untilStarted("b", 2)
	send := func(signal syscall.Signal) { unix.Kill(cold.stock["b"].cmd.Process.Pid, signal) }
	send(unix.SIGSTOP)
	stopped := time.Now()
	t.Cleanup(func() { send(unix.SIGCONT) }) // so that it can end

	apart := newFleet(t, "ab")
	cut := apart.start(of, "cut", "ab")
	cut.untilStarted("b", 2)
	apart.hosts["b"].SetLink(false)
	parted := time.Now()

	one := f.start(of, "one", "a")
	cut.untilSaid(lostB, 4*time.Minute)
	apart.hosts["b"].SetLink(true)
	frozen.untilSaid(lostB, 4*time.Minute)
	send(unix.SIGCONT)
	off, stiff := cut.saidAfter(parted, lostB), frozen.saidAfter(stopped, lostB)
	t.Logf("cut off, the engine was lost after %s, frozen after %s", off, stiff)
	if off < link.Silence || off >= buildkit.Silence || stiff < buildkit.Silence { // a frozen one's kernel acknowledges
		t.Errorf("want them lost after %s and %s", link.Silence, buildkit.Silence)
	}
	one.wantSame()

	killed := f.start(of, "killed", "abc")
	killed.untilStarted("c", 1)
	killed.untilStarted("b", 2)
	f.stock["b"].Kill()
	killed.untilSaid(lostB, patience)
	f.stock["b"].Start()
	killed.wantSame()

	cut.wantSame()
	frozen.wantSame()
}

// lostB is what sx says if the engine b is lost.
const lostB = "the engine b (tcp://10.77.2.2:1234) was lost; the others build what it was building"
