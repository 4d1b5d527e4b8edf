package buildkit

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"
	"google.golang.org/grpc"

	"codeberg.org/stagex/sx/buildkit/link"
)

// Dialer opens one connection to a buildkitd.
type Dialer func(ctx context.Context) (net.Conn, error)

// Connect returns a connection to the engine that dial reaches, once it answers. If
// dialling or the connection failed, the error is that failure, because gRPC's own error
// has it only partly and as text.
func Connect(ctx context.Context, dial Dialer) (*Conn, error) {
	var last lastError
	moved, now := &traffic{}, &link.Link{}
	c, err := client.New(ctx, "passthrough:///engine",
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				last.set(err)
				return nil, err
			}
			now.Set(conn)
			return &toldConn{conn, &last, moved}, nil
		}),
		// The session is bound to the connection: never close it when idle.
		client.WithGRPCDialOption(grpc.WithIdleTimeout(0)),
	)
	if err != nil {
		return nil, err
	}
	ictx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	if _, err := c.Info(ictx); err != nil {
		c.Close()
		switch below := last.get(); {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case below != nil:
			return nil, below
		case ictx.Err() != nil:
			return nil, os.ErrDeadlineExceeded
		}
		return nil, err
	}
	return &Conn{Client: c, Elsewhere: true, moved: moved, link: now}, nil
}

// traffic counts the bytes sent to and received from an engine.
type traffic struct{ sent, received atomic.Int64 }

// lastError holds why the last connection failed.
type lastError struct {
	mu  sync.Mutex
	err error
}

func (l *lastError) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Errors after the first are mostly its consequences.
	if l.err == nil || errors.Is(l.err, io.EOF) {
		l.err = err
	}
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// toldConn records why it broke, and counts its traffic.
type toldConn struct {
	net.Conn
	last  *lastError
	moved *traffic
}

func (c *toldConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved.sent.Add(int64(n))
	if errors.Is(err, syscall.EPIPE) {
		// A client program that ended at once: reading returns its message.
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.Read(make([]byte, 1))
	}
	return n, err
}

func (c *toldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved.received.Add(int64(n))
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrClosed) {
		c.last.set(err)
	}
	return n, err
}
