package enginetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"
)

// FreePort returns a port of loopback at which nothing listens.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// openSSH starts an sshd at loopback, with keys of its own, and with the stock
// buildctl in the PATH of its sessions.
func openSSH(t testing.TB, s *Stock) Way {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"host", "client"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("making ssh keys: %v\n%s", err, out)
		}
	}
	hostKey, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	must(err)
	must(os.WriteFile(filepath.Join(dir, "known"), fmt.Appendf(nil, "[127.0.0.1]:%d %s", port, hostKey), 0o600))
	must(os.WriteFile(filepath.Join(dir, "sshd_config"), fmt.Appendf(nil, `
Port %d
ListenAddress 127.0.0.1
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv PATH=%[3]s:/usr/bin:/bin
`, port, dir, s.programs.Dir), 0o600))
	must(os.MkdirAll("/run/sshd", 0o755)) // sshd wants it, whatever its settings
	var log Buffer
	sshd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	sshd.Stderr = &log
	must(sshd.Start())
	t.Cleanup(func() {
		sshd.Process.Kill()
		sshd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", &log)
		}
	})
	Until(t, 10*time.Second, "sshd listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	// ssh reads the user's own files, whatever HOME says.
	ssh, err := exec.LookPath("ssh")
	must(err)
	bin := fakeProgram(t, "ssh", fmt.Sprintf(`exec %q -F none -i %[2]s/client -o IdentitiesOnly=yes -o UserKnownHostsFile=%[2]s/known "$@"`, ssh, dir))
	me, err := user.Current()
	must(err)
	return Way{fmt.Sprintf("SX_ENGINE_ADDRESS=ssh://%s@127.0.0.1:%d%s", me.Username, port, s.Socket), withPath(bin)}
}
