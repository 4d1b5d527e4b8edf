package enginetest

import (
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"testing"

	"github.com/sirupsen/logrus"
)

// RunTests compiles the programs and runs a package's tests with them, and returns the
// exit code. It writes to w why they cannot run, and how to leave them out.
func RunTests(m *testing.M, p *Programs, w io.Writer) int {
	logrus.SetOutput(io.Discard) // as sx does
	log.SetOutput(io.Discard)
	if os.Getenv("SX_TEST_NO_ENGINE") == "1" {
		fmt.Fprintln(w, "SX_TEST_NO_ENGINE=1: the engine is not tested")
		return 0
	}
	if err := canBuild(); err != nil {
		fmt.Fprintf(w, "the engine's tests cannot run here: %v; SX_TEST_NO_ENGINE=1 leaves them out\n", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "sx-enginetest-")
	if err != nil {
		fmt.Fprintln(w, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // an ordinary user runs them too
		fmt.Fprintln(w, err)
		return 1
	}
	*p = NewPrograms(dir)
	if err := p.Build(); err != nil {
		fmt.Fprintln(w, err)
		return 1
	}
	return m.Run()
}

func canBuild() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("they need root")
	}
	for _, program := range []string{"runc", "newuidmap", "useradd"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	return nil
}
