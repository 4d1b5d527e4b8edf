package buildkit

import (
	"context"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // containerd's stores log there
	os.Exit(m.Run())
}

// answerer is a buildkitd that answers requests for its version and its workers, of
// which it has none, until it is silent.
type answerer struct {
	controlapi.UnimplementedControlServer
	silent atomic.Bool
}

func (a *answerer) Info(ctx context.Context, _ *controlapi.InfoRequest) (*controlapi.InfoResponse, error) {
	if a.silent.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &controlapi.InfoResponse{}, nil
}

func (a *answerer) ListWorkers(ctx context.Context, _ *controlapi.ListWorkersRequest) (*controlapi.ListWorkersResponse, error) {
	if a.silent.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &controlapi.ListWorkersResponse{}, nil
}

// listening is an Engine at an address of this machine.
type listening struct{ address string }

func (listening) Kind() string { return "tcp" }

func (l listening) Connect(ctx context.Context) (*Conn, error) {
	return Connect(ctx, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.address)
	})
}

// serve starts a at a port of loopback.
func serve(t *testing.T, a controlapi.ControlServer) listening {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := grpc.NewServer()
	controlapi.RegisterControlServer(srv, a)
	go srv.Serve(l) // until Stop
	t.Cleanup(srv.Stop)
	return listening{l.Addr().String()}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
