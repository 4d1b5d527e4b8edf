package buildkit

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpState is [link.state] of a socket, by tcp(7), TCP_INFO. Bytes that wait for a closed
// window are not sent yet, and are not counted.
func tcpState(raw syscall.RawConn) (waits bool, last time.Duration) {
	raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			waits, last = info.Unacked > 0, time.Duration(info.Last_ack_recv)*time.Millisecond
		}
	})
	return waits, last
}
