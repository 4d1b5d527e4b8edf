package kubernetes

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	apitypes "github.com/moby/buildkit/api/types"
	"google.golang.org/grpc"

	"codeberg.org/stagex/sx/buildkit/kubernetes/kubetest"
)

// dialVar makes the test binary a buildctl dial-stdio to the socket that it names.
const dialVar = "SX_TEST_DIAL_STDIO"

func TestMain(m *testing.M) {
	if socket := os.Getenv(dialVar); socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			io.WriteString(os.Stderr, "error: "+err.Error()+"\n")
			os.Exit(1)
		}
		go func() { // ends with the input
			io.Copy(conn, os.Stdin)
			conn.(*net.UnixConn).CloseWrite()
		}()
		io.Copy(os.Stdout, conn)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// answerer is a buildkitd that only answers questions about itself.
type answerer struct {
	controlapi.UnimplementedControlServer
}

func (answerer) Info(context.Context, *controlapi.InfoRequest) (*controlapi.InfoResponse, error) {
	return &controlapi.InfoResponse{BuildkitVersion: &apitypes.BuildkitVersion{Version: "v0.34.2"}}, nil
}

func (answerer) ListWorkers(context.Context, *controlapi.ListWorkersRequest) (*controlapi.ListWorkersResponse, error) {
	return &controlapi.ListWorkersResponse{}, nil
}

func (answerer) DiskUsage(context.Context, *controlapi.DiskUsageRequest) (*controlapi.DiskUsageResponse, error) {
	return &controlapi.DiskUsageResponse{}, nil
}

// startCluster starts an API server whose pods all reach one buildkitd, and makes its
// kubeconfig this test's.
func startCluster(t *testing.T) *kubetest.Server {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "sock")
	lis, err := net.Listen("unix", socket)
	must(t, err)
	srv := grpc.NewServer()
	controlapi.RegisterControlServer(srv, answerer{})
	go srv.Serve(lis) // ended by Stop
	t.Cleanup(srv.Stop)
	s := kubetest.Start(t)
	s.Token = "a-token"
	s.Command = func(string, []string) []string { return []string{"env", dialVar + "=" + socket, os.Args[0]} }
	t.Setenv("KUBECONFIG", s.Kubeconfig(t))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
