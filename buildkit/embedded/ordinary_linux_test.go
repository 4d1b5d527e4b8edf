package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/user"

	"codeberg.org/stagex/sx/buildkit"
)

// alice can build: an ordinary user with ids and the programs to map them.
func alice() ordinary {
	return ordinary{
		name: "alice", uid: 1000, gid: 1001, exe: "/usr/local/bin/sx",
		newuidmap: "/usr/bin/newuidmap", newgidmap: "/usr/bin/newgidmap",
		subuid:  []user.SubID{{Name: "alice", SubID: 200000, Count: 65536}},
		subgid:  []user.SubID{{Name: "alice", SubID: 300000, Count: 30000}, {Name: "1000", SubID: 400000, Count: 40000}},
		sysctls: map[string]string{sysctlMax: "96365", sysctlApparmor: "0"},
	}
}

func TestIDMaps(t *testing.T) {
	m, err := alice().maps()
	if err != nil {
		t.Fatal(err)
	}
	want := &idMaps{
		UID:       []user.IDMap{{ID: 0, ParentID: 1000, Count: 1}, {ID: 1, ParentID: 200000, Count: 65536}},
		GID:       []user.IDMap{{ID: 0, ParentID: 1001, Count: 1}, {ID: 1, ParentID: 300000, Count: 30000}, {ID: 30001, ParentID: 400000, Count: 40000}},
		NewUIDMap: "/usr/bin/newuidmap", NewGIDMap: "/usr/bin/newgidmap",
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	// A state that was made with other ids is another state.
	other := alice()
	other.subgid[0].SubID++
	if o, _ := other.maps(); o.name() == m.name() {
		t.Error("other ids have the same name, and so the same state")
	}
}

func TestOrdinaryUnfit(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil           func(*ordinary)
		problem, remedy string
	}{
		"old Debian": {func(o *ordinary) { o.sysctls[sysctlClone] = "0" }, sysctlClone + " is 0", "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/99-sx.conf"},
		"RHEL 7":     {func(o *ordinary) { o.sysctls[sysctlMax] = "0" }, sysctlMax + " is 0", "echo user.max_user_namespaces=28633 | sudo tee"},
		"container":  {func(o *ordinary) { o.noNewPrivs = true }, "no_new_privs is set", "allowPrivilegeEscalation"},
		"newuidmap":  {func(o *ordinary) { o.newuidmap = "" }, `no "newuidmap"`, "apt-get install uidmap"},
		"newgidmap":  {func(o *ordinary) { o.newgidmap = "" }, `no "newgidmap"`, "apt-get install uidmap"},
		"set-uid":    {func(o *ordinary) { o.plain = []string{o.newuidmap} }, "/usr/bin/newuidmap is not set-uid root", "sudo chmod u+s /usr/bin/newuidmap"},
		"no ranges": {func(o *ordinary) { o.subuid, o.subgid = nil, nil },
			"/etc/subuid gives alice 0 and /etc/subgid 0", "echo alice:100000:65536 | sudo tee -a /etc/subuid /etc/subgid"},
		"one range": {func(o *ordinary) { o.subgid = nil },
			"/etc/subuid gives alice 65536 and /etc/subgid 0", "echo alice:100000:65536 | sudo tee -a /etc/subgid;"},
		"others' ranges": {func(o *ordinary) {
			o.subuid, o.allIDs = nil, []user.SubID{{Name: "bob", SubID: 165536, Count: 65536}, {Name: "eve", SubID: 100000, Count: 65536}}
		}, "gives alice 0", "echo alice:231072:65536 | sudo tee -a /etc/subuid;"},
		"few": {func(o *ordinary) { o.subuid[0].Count = 1000 }, "gives alice 1000", "tee -a /etc/subuid;"},
	} {
		t.Run(name, func(t *testing.T) {
			o := alice()
			tt.spoil(&o)
			_, err := o.maps()
			wantUnfit(t, err, tt.problem, tt.remedy)
			if err != nil && !strings.HasSuffix(err.Error(), "or run sx as root") {
				t.Errorf("%v: does not say that root may", err)
			}
		})
	}
}

// Whatever the kernel answers to what a user may do elsewhere, the message says
// what to do.
func TestOrdinaryRefused(t *testing.T) {
	denied := &fs.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: syscall.EPERM}
	for name, tt := range map[string]struct {
		err             error
		spoil           func(*ordinary)
		problem, remedy string
	}{
		"Ubuntu": {denied, func(o *ordinary) { o.sysctls[sysctlApparmor] = "1" }, "AppArmor lets no ordinary program",
			`printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile sx /usr/local/bin/sx flags=(unconfined) {\n  userns,\n}\n' | sudo tee /etc/apparmor.d/sx && sudo apparmor_parser -r /etc/apparmor.d/sx`},
		"Ubuntu, a home with a space": {denied, func(o *ordinary) { o.sysctls[sysctlApparmor], o.exe = "1", "/home/a b/sx" }, "AppArmor", "move sx"},
		"container":                   {fmt.Errorf("binding /run: %w", syscall.EACCES), func(o *ordinary) { o.filtered = true }, "looks like a container", "seccomp=unconfined"},
		"hidden /proc":                {fmt.Errorf("%w: %w", errProc, syscall.EPERM), func(*ordinary) {}, "parts of /proc are hidden", "systempaths=unconfined"},
		"who knows":                   {denied, func(*ordinary) {}, "operation not permitted", "journalctl -k"},
		"nested":                      {syscall.ENOSPC, func(*ordinary) {}, "there are too many (user.max_user_namespaces is 96365)", "sysctl -w user.max_user_namespaces=28633"},
		"no such kernel":              {syscall.EINVAL, func(*ordinary) {}, "CONFIG_USER_NS", "another kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			o := alice()
			tt.spoil(&o)
			wantUnfit(t, o.refused("making a user namespace", tt.err), tt.problem, tt.remedy)
		})
	}
	// A full disk has its own words, exit code and way out.
	if err := alice().refused("x", syscall.ENOSPC); strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		t.Errorf("%v: reads as a full disk", err)
	}
	var unfit *buildkit.UnfitError
	if err := alice().refused("x", errors.New("disk on fire")); errors.As(err, &unfit) {
		t.Errorf("%v: not a matter of this machine's settings", err)
	}
}

// The AppArmor profile that is printed, through the shell that it is pasted into.
func TestApparmorProfile(t *testing.T) {
	_, command, _ := strings.Cut(apparmorRemedy("/opt/sx-1.0/sx"), ": ")
	out, err := exec.Command("sh", "-c", strings.Split(command, " | ")[0]).Output()
	want := "abi <abi/4.0>,\ninclude <tunables/global>\nprofile sx /opt/sx-1.0/sx flags=(unconfined) {\n  userns,\n}\n"
	if string(out) != want || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
}

// What newuidmap says when it fails reaches the user, with a way out.
func TestRunIDMapRefused(t *testing.T) {
	for said, want := range map[string][2]string{
		"newuidmap: write to uid_map failed: Operation not permitted":                          {"looks like a container", "--privileged"},
		"newuidmap: Target process 12 is owned by a different user: uid:1000 gid:4 pw_gid:100": {"group is not the one", "newgrp"},
		"newuidmap: uid range [1-9) -> [7-8) not allowed":                                      {"-> [7-8) not allowed", "/etc/subuid"},
	} {
		o := alice()
		o.filtered = true
		err := runIDMap(fakeRunc(t, "echo '"+said+"' >&2; exit 1"), 1, nil)
		wantUnfit(t, o.refused("mapping ids", err), want[0], want[1])
	}
	o := alice()
	o.sysctls[sysctlApparmor] = "1"
	err := runIDMap(fakeRunc(t, "echo 'write failed: Operation not permitted' >&2; exit 1"), 1, nil)
	wantUnfit(t, o.refused("mapping ids", err), "AppArmor", "apparmor_parser")
}

func TestGetsubids(t *testing.T) {
	got := parseGetsubids([]byte("0: alice 100000 65536\n1: alice 300000 5\nError\n"))
	want := []user.SubID{{Name: "alice", SubID: 100000, Count: 65536}, {Name: "alice", SubID: 300000, Count: 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestThisUser(t *testing.T) {
	o, err := thisUser()
	if err != nil || o.uid != os.Getuid() || o.exe == "" || o.sysctls[sysctlMax] == "" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	outside := dir + "/outside"
	if err := os.MkdirAll(dir+"/engine/blobs", 0o700); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64<<10)
	for _, name := range []string{outside, dir + "/engine/own"} {
		data[0]++
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{outside: "/engine/blobs/shared", dir + "/engine/own": "/engine/blobs/twice"} {
		if err := os.Link(from, dir+to); err != nil {
			t.Fatal(err)
		}
	}
	u, err := measure(dir + "/engine")
	if err != nil || u.Shared != 64<<10 || u.Bytes < 128<<10 || u.Bytes > 160<<10 {
		t.Errorf("%+v, %v: want 64 KB of at least 128 shared", u, err)
	}
}
