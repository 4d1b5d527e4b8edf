package main

import (
	"os"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["podman"] = podman }

// podman ARG... runs podman with a store of its own below $WORK and the settings of $HOME, or fails with !.
func podman(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) > 0, "[!] podman ARG...")
	if _, err := exec.LookPath("podman"); err != nil {
		if os.Getenv("SX_TEST_ENGINE") != "" {
			ts.Fatalf("no podman")
		}
		return
	}
	run := ts.Getenv("PODMAN_RUN")
	if run == "" {
		var err error
		run, err = os.MkdirTemp("", "sx") // podman wants a short path, and the same one each time
		ts.Check(err)
		ts.Defer(func() { os.RemoveAll(run) })
		ts.Setenv("PODMAN_RUN", run)
	}
	all := append([]string{"--root", ts.MkAbs(".podman"), "--runroot", run, "--storage-driver", "vfs", "--events-backend", "none"}, args...)
	err := ts.Exec("podman", all...)
	if (err != nil) != neg {
		ts.Fatalf("podman: %v", err)
	}
}
