//go:build !linux

package enginetest

import "os/exec"

// ownMounts is for Linux, the only system on which the programs run.
func ownMounts(*exec.Cmd) {}
