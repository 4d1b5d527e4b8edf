//go:build !linux

package link

import (
	"syscall"
	"time"
)

func tcpState(syscall.RawConn) (waits bool, last time.Duration) { return false, 0 }
