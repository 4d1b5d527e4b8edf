// Package link notices that the machine at the other end of a TCP connection was cut off, by
// what the kernel knows of the connection.
package link

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Silence is how long the other machine may acknowledge nothing that it was sent. Its kernel
// acknowledges, so that an engine that is busy or frozen is not taken for one that was cut
// off. BuildKit cancels the builds of a client that was away for 43 seconds (two health
// checks, moby/buildkit: session/grpc.go), so that waiting longer than that saves none.
const Silence = 45 * time.Second

// interval is the interval at which the kernel is asked about a connection.
const interval = 5 * time.Second

// Link is the newest of the connections to one engine. Its zero value is none. It is safe
// for concurrent use.
type Link struct {
	conn atomic.Pointer[syscall.RawConn]
}

// Set makes c, if it is TCP or TLS over TCP, the newest connection.
func (l *Link) Set(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			l.conn.Store(&raw)
		}
	}
}

// Cut waits until the other machine has acknowledged nothing for [Silence] although it was
// sent something. It returns false if ctx or ended came first. On systems other than Linux
// it never sees a cut.
func (l *Link) Cut(ctx context.Context, ended <-chan struct{}) bool {
	return cut(ctx, ended, interval, Silence, l.state)
}

// state reports whether the kernel waits for an acknowledgement of something it has sent,
// and how long ago the last one came. If that is not known, it does not wait.
func (l *Link) state() (waits bool, last time.Duration) {
	if raw := l.conn.Load(); raw != nil {
		return tcpState(*raw)
	}
	return false, 0
}

func cut(ctx context.Context, ended <-chan struct{}, interval, patience time.Duration, state func() (bool, time.Duration)) bool {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var since time.Time // then something was unacknowledged, and nothing was acknowledged since
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ended:
			return false
		case <-tick.C:
		}
		waits, last := state()
		switch now := time.Now(); {
		case !waits:
			since = time.Time{}
		case since.IsZero(), last < now.Sub(since):
			since = now
		case now.Sub(since) >= patience:
			return true
		}
	}
}
