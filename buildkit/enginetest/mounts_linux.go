package enginetest

import (
	"os/exec"
	"syscall"
)

// ownMounts gives a program mounts of its own, which end with the program.
func ownMounts(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}
