// Package registrytest starts docker's own registry, as Debian packages it
// (docker-registry), for tests: it is stricter than one in memory, knows ranges
// and passwords, and collects garbage.
package registrytest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// Left names the variable that leaves these tests out, set to 1, on a machine
// without the program.
const Left = "SX_TEST_NO_REGISTRY"

// ErrMissing says that the program is not installed.
var ErrMissing = errors.New("docker-registry is not installed (Debian: docker-registry); " + Left + "=1 leaves its tests out")

// Registry is a registry on this machine.
type Registry struct {
	Host string // "127.0.0.1:<port>", or what StartAt was told

	program, config string
	cmd             *exec.Cmd
}

// The only user, where there is one; the file is of bcrypt at its least cost.
const (
	User     = "user"
	Password = "secret"
	htpasswd = "user:$2a$04$QWT4e/BM1/1KlNHHGPejte5NYtuzcYBJ1qCLK/FMrnvgB7NmWG3G2\n"
)

// Start starts a registry that keeps its data in dir, and wants the password where
// private. Without the program the error is ErrMissing.
func Start(dir string, private bool) (*Registry, error) {
	return StartAt(dir, private, "127.0.0.1:0")
}

// StartAt is Start for a registry that listens at addr, and is started by the command within,
// which the registry's own command line is appended to.
func StartAt(dir string, private bool, addr string, within ...string) (*Registry, error) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, ErrMissing
	}
	r := &Registry{program: program, config: filepath.Join(dir, "config.yml")}
	if err := r.configure(dir, private, addr); err != nil {
		return nil, err
	}
	line := append(slices.Clone(within), program, "serve", r.config)
	r.cmd = exec.Command(line[0], line[1:]...)
	out, err := r.cmd.StderrPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err == nil {
		err = r.listens(out)
	}
	return r, err
}

func (r *Registry) configure(dir string, private bool, addr string) error {
	config := fmt.Sprintf(`version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: %[1]s/data}, delete: {enabled: true}}
http: {addr: %[2]q}
`, dir, addr)
	if private {
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n", dir)
	}
	return errors.Join(os.WriteFile(r.config, []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "htpasswd"), []byte(htpasswd), 0o600))
}

var listening = regexp.MustCompile(`listening on (\d+\.\d+\.\d+\.\d+:\d+)`)

// listens waits until the registry says where it listens, and then keeps its log
// from filling the pipe.
func (r *Registry) listens(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			r.Host = m[1]
			go io.Copy(io.Discard, out)
			return nil
		}
	}
	return errors.Join(errors.New("docker-registry ended before it listened"), lines.Err(), r.cmd.Wait())
}

// Collect collects garbage as its administrator would.
func (r *Registry) Collect() error {
	out, err := exec.Command(r.program, "garbage-collect", "--delete-untagged", r.config).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("collecting garbage: %w\n%s", err, out)
	}
	return err
}

// Close ends it.
func (r *Registry) Close() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}
