package buildkit

import (
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
