package buildkit

import (
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A connection over which nothing comes any more is given up, so that builds
// fail as lost, and are tried again, instead of waiting for ever.
func TestSilentEngine(t *testing.T) {
	a := &answerer{}
	engine := serve(t, a)
	conn, err := engine.Connect(t.Context())
	must(t, err)
	b := &Builder{conn: conn, Engine: engine, log: zap.NewNop(), ended: make(chan struct{})}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		b.watch(t.Context(), time.Millisecond, 100*time.Millisecond)
	}()
	a.silent.Store(true)
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Fatal("the silent engine is not noticed")
	}
	if _, err := conn.Client.Info(t.Context()); status.Code(err) != codes.Canceled {
		t.Errorf("after a silent engine the client answers %v", err)
	}
	if !b.Lost(t.Context()) {
		t.Error("the engine is not lost")
	}
}

// A question to an engine that does not answer ends within its limit.
func TestQuestionsAreBounded(t *testing.T) {
	a := &answerer{}
	engine := serve(t, a)
	conn, err := engine.Connect(t.Context())
	must(t, err)
	b := &Builder{conn: conn, Engine: engine, log: zap.NewNop(), ended: make(chan struct{}), answerTime: 100 * time.Millisecond}
	a.silent.Store(true)
	for what, ask := range map[string]func() error{
		"version":     func() error { _, err := b.Version(t.Context()); return err },
		"snapshotter": func() error { _, err := b.Snapshotter(t.Context()); return err },
		"platforms":   func() error { return b.CheckPlatforms(t.Context(), []string{"linux/amd64"}) },
		"life": func() error {
			if b.Lost(t.Context()) {
				return status.Error(codes.DeadlineExceeded, "")
			}
			return nil
		},
	} {
		answered := make(chan error, 1)
		go func() { answered <- ask() }()
		select {
		case err := <-answered:
			if status.Code(rootOf(err)) != codes.DeadlineExceeded {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the question for its %s is not given up", what)
		}
	}
}

// rootOf is the innermost error.
func rootOf(err error) error {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err
}

// An engine whose machine acknowledges nothing is given up. One that acknowledges late, or to
// which nothing was sent, is not.
func TestSilentLink(t *testing.T) {
	engine := serve(t, &answerer{})
	conn, err := engine.Connect(t.Context())
	must(t, err)
	for _, c := range []struct {
		what string
		link func(time.Duration) (bool, time.Duration)
		cut  bool
	}{
		{"nothing was sent", func(began time.Duration) (bool, time.Duration) { return false, began }, false},
		{"acknowledged late", func(began time.Duration) (bool, time.Duration) { return true, began % (50 * time.Millisecond) }, false},
		{"sent after a long rest", func(began time.Duration) (bool, time.Duration) {
			return began%(10*time.Millisecond) < 5*time.Millisecond, began % (50 * time.Millisecond)
		}, false},
		{"cut", func(began time.Duration) (bool, time.Duration) { return true, time.Hour + began }, true},
	} {
		b := &Builder{conn: conn, Engine: engine, log: zap.NewNop(), ended: make(chan struct{})}
		began, asked := time.Now(), 0
		b.watchLink(t.Context(), time.Millisecond, 100*time.Millisecond, func() (bool, time.Duration) {
			if asked++; asked == 1000 {
				close(b.ended)
			}
			return c.link(time.Since(began))
		})
		_, err := conn.Client.Info(t.Context())
		if cut := status.Code(err) == codes.Canceled; cut != c.cut {
			t.Errorf("%s: the connection answers %v", c.what, err)
		}
	}
}

// The kernel of a machine whose engine does not read acknowledges all the same.
func TestLinkOfFrozenEngine(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer lis.Close()
	c, err := net.Dial("tcp", lis.Addr().String())
	must(t, err)
	defer c.Close()
	var l link
	l.set(c)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	for sent := 0; err == nil; {
		n, werr := c.Write(make([]byte, 1<<20))
		if sent, err = sent+n, werr; sent > 1<<30 {
			t.Fatal("the window does not close")
		}
	}
	if waits, last := l.state(); waits {
		t.Errorf("with a closed window the kernel waits for an acknowledgement, the last came %s ago", last)
	}
}
