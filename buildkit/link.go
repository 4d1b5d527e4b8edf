package buildkit

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// LinkSilence is how long the machine of an engine may acknowledge nothing of what was sent
// to it. Its kernel acknowledges, so that an engine that is busy or frozen is not taken
// for one that was cut off. BuildKit cancels the builds of a client that was away for 43
// seconds (two health checks, moby/buildkit: session/grpc.go), so that waiting longer than
// that saves none.
const LinkSilence = 45 * time.Second

// linkInterval is the interval at which the kernel is asked about a connection.
const linkInterval = 5 * time.Second

// link is the newest connection to an engine, if it is TCP.
type link struct {
	conn atomic.Pointer[syscall.RawConn]
}

func (l *link) set(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			l.conn.Store(&raw)
		}
	}
}

// state reports whether the kernel waits for an acknowledgement of something it has sent,
// and how long ago the last one came. If that is not known, it does not wait.
func (l *link) state() (waits bool, last time.Duration) {
	if raw := l.conn.Load(); raw != nil {
		return tcpState(*raw)
	}
	return false, 0
}

// watchLink closes the connection to an engine whose machine was cut off: for patience, what
// was sent stayed unacknowledged.
func (b *Builder) watchLink(ctx context.Context, interval, patience time.Duration, state func() (bool, time.Duration)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var since time.Time // then something was unacknowledged, and nothing was acknowledged since
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.ended:
			return
		case <-tick.C:
		}
		waits, last := state()
		switch now := time.Now(); {
		case !waits:
			since = time.Time{}
		case since.IsZero(), last < now.Sub(since):
			since = now
		case now.Sub(since) >= patience:
			b.log.Warn("the engine's machine has acknowledged nothing for " + patience.String() + "; closing the connection")
			b.conn.Client.Close()
			return
		}
	}
}
