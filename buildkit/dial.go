package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"
	"google.golang.org/grpc"
)

// EngineError says that an engine elsewhere cannot be used, and the way out.
type EngineError struct {
	Engine  string // its address, or "docker", "podman"
	Problem string
	Remedy  string
}

func (e *EngineError) Error() string {
	return fmt.Sprintf("the engine %s cannot be used: %s; %s", e.Engine, e.Problem, e.Remedy)
}

// EngineName names an engine for a person: by its address, where it has one, else by
// its kind.
func EngineName(e Engine) string {
	if s, ok := e.(fmt.Stringer); ok {
		return s.String()
	}
	return e.Kind()
}

// connect makes a client whose connections dial opens, and makes sure that an
// engine answers. The error is what went wrong below gRPC, where that is known:
// gRPC would tell it as text, and only in part.
func connect(ctx context.Context, dial dialer) (*Conn, error) {
	var last lastError
	moved := &traffic{}
	c, err := client.New(ctx, "passthrough:///engine",
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				last.set(err)
				return nil, err
			}
			return &toldConn{conn, &last, moved}, nil
		}),
		// The session is the connection: never idle it away.
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
	return &Conn{Client: c, Elsewhere: true, moved: moved}, nil
}

// traffic is what went over the connections to an engine, in bytes.
type traffic struct{ sent, received atomic.Int64 }

// lastError is why the last connection failed.
type lastError struct {
	mu  sync.Mutex
	err error
}

func (l *lastError) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// What follows a reason is mostly the noise of its consequences.
	if l.err == nil || errors.Is(l.err, io.EOF) {
		l.err = err
	}
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// toldConn tells why it broke, and what it carried.
type toldConn struct {
	net.Conn
	last  *lastError
	moved *traffic
}

func (c *toldConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved.sent.Add(int64(n))
	if errors.Is(err, syscall.EPIPE) {
		// A client program that ended at once: reading tells what it said.
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

// clientConn is a connection through a client program. Its end is told to the far
// side before the program is ended: podman, killed, leaves buildctl behind in the
// container, and with it a connection that looks alive.
type clientConn struct{ net.Conn }

// clientEnd bounds how long a client program may take to end by itself.
const clientEnd = 3 * time.Second

func (c *clientConn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		ended := make(chan struct{})
		go func() { // ended by the program's end
			defer close(ended)
			io.Copy(io.Discard, c.Conn)
		}()
		select {
		case <-ended:
		case <-time.After(clientEnd):
		}
	}
	return c.Conn.Close()
}

func findClient(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("there is no %s in PATH, by which it is reached", program)
	}
	return nil
}

func clientRemedy(program string) string {
	switch program {
	case "ssh":
		return "install it (Debian: apt-get install openssh-client)"
	case "podman":
		return "install it (Debian: apt-get install podman)"
	case "docker":
		return "install it (Debian: apt-get install docker-cli, or docker.io)"
	}
	return "install " + program
}

// watchInterval is how often an engine is asked whether it is there.
const watchInterval = 15 * time.Second

// silence is how long it may take to answer. A machine that swaps, or a
// slow line full of layers, is no reason to throw hours of a build away.
const silence = 2 * time.Minute

// watch ends the connection of an engine that stopped answering: neither a cable that
// was pulled nor a process that hangs says so, and a build would wait for ever. What is killed is
// the connection, so that builds fail as lost and are tried again.
func (b *Builder) watch(ctx context.Context, interval, patience time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.ended:
			return
		case <-tick.C:
		}
		if !b.answers(ctx, patience) && ctx.Err() == nil {
			b.log.Warn("the engine does not answer; closing the connection")
			b.conn.Client.Close()
			return
		}
	}
}

// answers reports whether the engine says anything at all within patience.
func (b *Builder) answers(ctx context.Context, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := b.conn.Client.Info(ctx)
	return err == nil || ctx.Err() == nil
}
