package buildkit

import (
	"context"
	"errors"
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

// The connection to an engine that was cut off is closed, and no other.
func TestLinkCut(t *testing.T) {
	engine := serve(t, &answerer{})
	conn, err := engine.Connect(t.Context())
	must(t, err)
	for _, cut := range []bool{false, true} {
		b := &Builder{conn: conn, Engine: engine, log: zap.NewNop(), ended: make(chan struct{})}
		b.watchLink(t.Context(), func(context.Context, <-chan struct{}) bool { return cut })
		_, err := conn.Client.Info(t.Context())
		if closed := status.Code(err) == codes.Canceled; closed != cut {
			t.Errorf("cut off %v: the connection answers %v", cut, err)
		}
	}
}
