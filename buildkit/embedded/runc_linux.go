package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
)

// runcIsInside stands for the path of the runc that sx carries.
const runcIsInside = "(inside sx)"

// findRunc takes the given program, or the one in PATH, or the one that sx
// carries. It refuses one that would fail every RUN or give other bytes; what is
// in PATH gives way to what sx carries, what somebody named does not.
func (m machine) findRunc(path string, inside bool) (string, error) {
	if path != "" {
		return m.checkRunc(path)
	}
	found, err := m.checkRunc("runc")
	if err != nil && inside {
		return runcIsInside, nil
	}
	return found, err
}

func (m machine) checkRunc(path string) (string, error) {
	full, err := lookPath(path)
	if err != nil {
		return "", &buildkit.UnfitError{
			Problem: fmt.Sprintf("there is no %q, the program that runs build steps", path),
			Remedy:  "install runc (Debian: apt-get install runc), name one in engine.runc of stagex.toml, or use a release of sx, which has one inside",
		}
	}
	if full, err = filepath.Abs(full); err != nil {
		return "", err
	}
	out, err := ask(full, "features")
	var features struct {
		Linux struct {
			Seccomp struct {
				Enabled bool `json:"enabled"`
			} `json:"seccomp"`
		} `json:"linux"`
		Annotations map[string]string `json:"annotations"`
	}
	if err == nil {
		err = json.Unmarshal(out, &features)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return "", &buildkit.UnfitError{
			Problem: fmt.Sprintf("%s does not know `features` (%s): it is too old, or not runc (crun gives other bytes)", full, said(exit)),
			Remedy:  "install runc 1.1 or newer",
		}
	case err != nil:
		return "", &buildkit.UnfitError{Problem: fmt.Sprintf("%s cannot be used: %v", full, err), Remedy: "install runc 1.1 or newer"}
	case !isRunc(features.Annotations):
		return "", &buildkit.UnfitError{Problem: fmt.Sprintf("%s is not runc; other runtimes give other bytes", full), Remedy: "install runc 1.1 or newer"}
	case !features.Linux.Seccomp.Enabled && m.seccomp:
		return "", &buildkit.UnfitError{
			Problem: fmt.Sprintf("%s was built without seccomp, so every build step would fail", full),
			Remedy:  "install a runc with seccomp (the Debian package has it)",
		}
	}
	return full, nil
}

// sbin is where runc's own "make install" puts it (the first), and some
// distributions: out of an ordinary user's PATH.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// lookPath is exec.LookPath, which looks into sbin too.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.Contains(name, "/") {
		return path, err
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// said is the last line that a failed program wrote to stderr, or its exit code.
func said(exit *exec.ExitError) string {
	lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return exit.Error()
}

// isRunc tells runc from other runtimes by the annotations that only runc
// gives (runc: features.go).
func isRunc(annotations map[string]string) bool {
	_, ok := annotations["org.opencontainers.runc.version"]
	return ok
}
