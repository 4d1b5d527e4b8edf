package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"codeberg.org/stagex/sx/graph"
)

var failingJob = Job{
	Ref:     graph.Ref{Stage: "core", Name: "x"},
	Request: graph.Request{File: "packages/core/x/Containerfile"},
}

// failing is a builder whose engine answers, or does not.
func failing(t *testing.T, lost bool) *Builder {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	if !lost {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		controlapi.RegisterControlServer(srv, &answerer{})
		go srv.Serve(l) // until Stop
		t.Cleanup(srv.Stop)
	}
	c, err := client.New(t.Context(), "unix://"+socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := session.NewSession(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return &Builder{conn: &Conn{Client: c}, session: s, ended: make(chan struct{})}
}

// overWire is err as a client gets it from the engine.
func overWire(err error) error {
	return fmt.Errorf("failed to solve: %w", grpcerrors.FromGRPC(grpcerrors.ToGRPC(context.Background(), err)))
}

func TestExplainRun(t *testing.T) {
	err := fmt.Errorf("process %q did not complete successfully: %w", "/bin/false", &gateway.ExitError{ExitCode: 7})
	err = errdefs.WithSource(err, &errdefs.Source{
		Info: &pb.SourceInfo{}, Ranges: []*pb.Range{{Start: &pb.Position{Line: 12}, End: &pb.Position{Line: 12}}},
	})
	got := failing(t, false).explain(t.Context(), &watch{job: failingJob}, time.Now(), overWire(err))
	var be *BuildError
	if !errors.As(got, &be) || be.Line != 12 || be.ExitCode != 7 || be.Ref != failingJob.Ref {
		t.Fatalf("explain: %#v", got)
	}
	want := `packages/core/x/Containerfile:12: process "/bin/false" did not complete successfully: exit code: 7`
	if be.Error() != want {
		t.Errorf("got  %s\nwant %s", be, want)
	}
}

// An engine elsewhere cannot be checked before: runc's words are told with a way out.
func TestExplainRlimit(t *testing.T) {
	b := failing(t, false)
	b.conn.Elsewhere = true
	w := &watch{job: failingJob, started: map[string]bool{}}
	w.see(&client.SolveStatus{Logs: []*client.VertexLog{{Data: []byte("runc run failed: unable to start container process: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted\n")}}})
	got := b.explain(t.Context(), w, time.Now(), overWire(&gateway.ExitError{ExitCode: 1}))
	if !strings.Contains(got.Error(), "(the engine may not raise the limit of open files") {
		t.Errorf("no hint: %v", got)
	}
}

func TestExplainOther(t *testing.T) {
	got := failing(t, false).explain(t.Context(), &watch{job: failingJob}, time.Now(), overWire(status.Error(codes.Unknown, "no such file")))
	var be *BuildError
	if !errors.As(got, &be) || be.Line != 0 || be.ExitCode != 0 || be.Error() != "no such file" {
		t.Errorf("explain: %#v", got)
	}
}

func TestExplainLost(t *testing.T) {
	plain := errors.New("exit code: 1")
	for _, tt := range []struct {
		err  error
		lost bool
		want bool
	}{
		{plain, false, false},
		{plain, true, true},
		{status.Error(codes.Unavailable, "error reading from server: EOF"), false, true},
		{status.Error(codes.Canceled, "grpc: the client connection is closing"), false, true},
		{errors.New("failed to copy: no active session for abc: context deadline exceeded"), false, true},
		{overWire(status.Error(codes.Unknown, "solver: context canceled")), false, true},
	} {
		var lost *LostError
		got := failing(t, tt.lost).explain(t.Context(), &watch{job: failingJob}, time.Now(), tt.err)
		if errors.As(got, &lost) != tt.want {
			t.Errorf("%v, lost %v: %#v", tt.err, tt.lost, got)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	if got := failing(t, true).explain(ctx, &watch{job: failingJob}, time.Now(), plain); got != interrupted {
		t.Errorf("a cancelled build: %v, want the cause", got)
	}
}

// runc's log is of all containers: only what came during this build counts.
func TestRuncDetail(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 5, 700, time.UTC)
	line := func(level, msg string, at time.Time) string {
		return fmt.Sprintf("{\"level\":%q,\"msg\":%q,\"time\":%q}\n", level, msg, at.Format(time.RFC3339))
	}
	stale := line("error", "stale", began.Add(-time.Minute))
	for _, tt := range []struct{ log, want string }{
		{"", ""},
		{"not json\n", ""},
		{stale, ""},
		{stale + line("error", "no such device", began.Add(time.Second)), "no such device"},
		{line("error", "same second", began), "same second"},
		{line("warning", "cgroups", began), ""},
		{stale + line("warning", "later", began), ""},
		{line("error", strings.Repeat("x", 2000), began), strings.Repeat("x", maxDetail) + "…"},
	} {
		path := filepath.Join(t.TempDir(), "runc-log.json")
		if err := os.WriteFile(path, []byte(tt.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := runcDetail(path, began); got != tt.want {
			t.Errorf("log %q: %q, want %q", tt.log, got, tt.want)
		}
	}
	if got := runcDetail("", began); got != "" {
		t.Errorf("no log: %q", got)
	}
}

func TestBuildErrorDetail(t *testing.T) {
	e := &BuildError{Err: errors.New("exit code: 1"), Detail: "no such device"}
	if e.Error() != "exit code: 1 (runc: no such device)" {
		t.Error(e)
	}
}

// What is wrong with the engine's cache is told from a build that fails.
func TestSpoilt(t *testing.T) {
	for text, want := range map[string]string{
		"blob sha256:ab in the engine's store is damaged: it was cut short":                                                        "a blob in its cache is damaged",
		"failed to commit yi2 to xjh during finalize: failed to stat active key during commit: snapshot does not exist: not found": "a snapshot in its cache is missing",
		"failed to prepare xjh: parent snapshot sha256:ab does not exist: not found":                                               "a snapshot in its cache is missing",
		`process "/tool" did not complete successfully: exit code: 1`:                                                              "",
		`failed to calculate checksum of ref a: "/snapshot does not exist": not found`:                                             "",
		`failed to compute cache key: failed to calculate checksum of ref b::c: "/x": not found`:                                   "",
	} {
		if got := cacheDamage(&BuildError{Err: errors.New(text)}); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := cacheDamage(nil); got != "" {
		t.Error(got)
	}
}

// A missing file is said to be missing where the instruction searched for it.
func TestContextMessage(t *testing.T) {
	containerfile := []byte("FROM scratch AS build\nFROM scratch\nCOPY --chmod=0755 --from=build /a /\nCOPY --from=fetch a /\nCOPY a /\n")
	m := `failed to calculate checksum of ref abc::def: "/a": not found`
	job := Job{Request: graph.Request{Context: "packages/core/x"}}
	for line, want := range map[int]string{
		3: `"/a" not found in the stage or image build`,
		4: `"/a" not found in packages/core/x, nor as a source: fetch/ holds no source`,
		5: `"/a" not found in packages/core/x, nor as a source: fetch/ holds no source`,
		9: `"/a" not found in packages/core/x, nor as a source: fetch/ holds no source`,
	} {
		if got := contextMessage(m, job, copiedFrom(containerfile, line)); got != want {
			t.Errorf("line %d: %s, want %s", line, got, want)
		}
	}
}
