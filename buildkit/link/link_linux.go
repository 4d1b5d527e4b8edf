package link

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpState is [Link.state] of a socket, by tcp(7), TCP_INFO. Bytes that wait for the window
// of an engine that does not read are not counted. If the window has room for them, they
// wait for this machine's own link, which is as good as cut.
func tcpState(raw syscall.RawConn) (waits bool, last time.Duration) {
	raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			held := info.Notsent_bytes > 0 && info.Snd_wnd > 0 && info.Snd_wnd >= info.Snd_mss
			waits, last = info.Unacked > 0 || held, time.Duration(info.Last_ack_recv)*time.Millisecond
		}
	})
	return waits, last
}
