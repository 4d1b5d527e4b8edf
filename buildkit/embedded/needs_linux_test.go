package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
)

// Needs goes on after what is missing.
func TestNeeds(t *testing.T) {
	runc := filepath.Join(t.TempDir(), "runc")
	write := func(script string) {
		if err := os.WriteFile(runc, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	find := func(name string) (found buildkit.Need) {
		for _, n := range (&Engine{Runc: runc}).Needs() {
			if n.Name == name {
				found = n
			}
		}
		if found.Name == "" {
			t.Errorf("no %s among the needs", name)
		}
		return found
	}
	write("case $1 in features) echo '" + realRunc + "';; *) echo runc version 1.1.5; echo spec;; esac\n")
	if n := find("runc"); n.Err != nil || !strings.HasPrefix(n.Found, "1.1.5 at "+runc) {
		t.Errorf("%+v", n)
	}
	for _, name := range []string{"rights", "open files", "namespaces"} {
		if n := find(name); n.Err == nil && n.Found == "" {
			t.Errorf("%+v", n)
		}
	}
	write("echo '" + crun + "'\n")
	wantUnfit(t, find("runc").Err, "is not runc", "install runc")

	defer func(usual time.Duration) { askTime = usual }(askTime)
	askTime = 100 * time.Millisecond
	write("exec sleep 600\n")
	wantUnfit(t, find("runc").Err, "no answer within 100ms", "install runc")
}

// An ordinary user lacks several things at once; each is a line.
func TestUserNeeds(t *testing.T) {
	o := ordinary{name: "jane", uid: 1000, sysctls: map[string]string{sysctlMax: "0", sysctlApparmor: "1"}}
	for _, c := range []struct {
		need buildkit.Need
		want string
	}{
		{need("namespaces", o.namespaces(), o.checkKernel()), "only root make user namespaces"},
		{need("id maps", o.newuidmap, o.checkHelpers()), "newuidmap"},
		{need("subuid", "", o.checkRanges()), "needs 65535 user and group ids"},
	} {
		wantUnfit(t, c.need.Err, c.want, "or run sx as root")
	}
	if n := need("AppArmor", o.apparmor(), nil); n.Err != nil || !strings.HasPrefix(n.Found, "restricts user namespaces") {
		t.Errorf("%+v", n)
	}
}
