package spans

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/tracing"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
)

// sx is the session of an sx that takes spans.
type sx struct {
	collector.UnimplementedTraceServiceServer
	session.Caller
	conn *grpc.ClientConn

	mu       sync.Mutex
	spans    []*otlp.Span
	messages int
	asked    []string // sessions
}

func (s *sx) Conn() *grpc.ClientConn { return s.conn }

func (s *sx) Get(_ context.Context, id string, _ bool) (session.Caller, error) {
	s.asked = append(s.asked, id)
	return s, nil
}

func (s *sx) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages++
	for _, of := range in.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			s.spans = append(s.spans, scope.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func newSX(t testing.TB) *sx {
	t.Helper()
	l, server, s := bufconn.Listen(1<<20), grpc.NewServer(), &sx{}
	collector.RegisterTraceServiceServer(server, s)
	go server.Serve(l) // ended by Stop
	t.Cleanup(server.Stop)
	var err error
	s.conn, err = grpc.NewClient("passthrough:///sx", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

var solve = &grpc.UnaryServerInfo{FullMethod: "/moby.buildkit.v1.Control/Solve"}

// asking returns the context of a request that names a span.
func asking(t testing.TB, span string) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", span))
}

const callers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraced(t *testing.T) {
	s := newSX(t)
	long := strings.Repeat("ä", maxText)
	broken := errors.New(long + "\xff")
	_, err := Intercept(s)(asking(t, callers), &controlapi.SolveRequest{Session: "its session"}, solve, func(ctx context.Context, _ any) (any, error) {
		span, _ := tracing.StartSpan(ctx, long, trace.WithAttributes(attribute.String("vertex", long)))
		tracing.FinishWithError(span, broken)
		return nil, broken
	})
	if !errors.Is(err, broken) || len(s.asked) != 1 || s.asked[0] != "its session" {
		t.Errorf("%v; asked for %q", err, s.asked)
	}
	if len(s.spans) != 2 {
		t.Fatalf("got %v", s.spans)
	}
	step, request := s.spans[0], s.spans[1]
	if request.Name != "moby.buildkit.v1.Control/Solve" || string(step.ParentSpanId) != string(request.SpanId) || request.ParentSpanId[0] != 0xb7 || request.TraceId[0] != 0x0a || step.TraceId[0] != 0x0a {
		t.Errorf("%v is not below %v", step, request)
	}
	for _, text := range []string{step.Name, step.Status.Message, request.Status.Message, step.Attributes[0].Value.GetStringValue(), step.Events[0].Attributes[0].Value.GetStringValue()} {
		if len(text) > maxText+len("…") || !utf8.ValidString(text) {
			t.Errorf("%d bytes were sent", len(text))
		}
	}
}

// A build with more spans than are kept tells how many are missing.
func TestBounded(t *testing.T) {
	s := newSX(t)
	var late trace.Span
	Intercept(s)(asking(t, callers), &controlapi.SolveRequest{}, solve, func(ctx context.Context, _ any) (any, error) {
		late, _ = tracing.StartSpan(ctx, "ends after the build")
		for range maxSpans + 7 {
			span, _ := tracing.StartSpan(ctx, "step")
			span.End()
		}
		return nil, nil
	})
	late.End()
	if len(s.spans) != maxSpans+1 || s.messages != maxSpans/batch+1 {
		t.Fatalf("%d spans in %d messages", len(s.spans), s.messages)
	}
	request := s.spans[maxSpans]
	if len(request.Attributes) != 1 || request.Attributes[0].Key != Dropped || request.Attributes[0].Value.GetIntValue() != 7 {
		t.Errorf("got %v", request)
	}
}

// Requests that name no span, and those that are no builds, have no tracer at all.
func TestUntraced(t *testing.T) {
	s := newSX(t)
	for name, ctx := range map[string]context.Context{
		"nothing": t.Context(), "not sampled": asking(t, callers[:53]+"00"), "nonsense": asking(t, "00-x"),
	} {
		wantUntouched(t, s, name, ctx, &controlapi.SolveRequest{Session: "x"})
	}
	wantUntouched(t, s, "another request", asking(t, callers), &controlapi.InfoRequest{})
	if s.asked != nil || s.spans != nil {
		t.Errorf("asked for %q, sent %v", s.asked, s.spans)
	}
}

func wantUntouched(t *testing.T, s *sx, name string, ctx context.Context, req any) {
	t.Helper()
	Intercept(s)(ctx, req, solve, func(in context.Context, _ any) (any, error) {
		if in != ctx || trace.SpanContextFromContext(in).IsValid() {
			t.Errorf("%s: it is traced", name)
		}
		return nil, nil
	})
}

func BenchmarkUntraced(b *testing.B) {
	intercept, req := Intercept(newSX(b)), &controlapi.SolveRequest{}
	ctx := metadata.NewIncomingContext(b.Context(), metadata.Pairs("other", "x"))
	handle := func(context.Context, any) (any, error) { return nil, nil }
	b.ReportAllocs()
	for b.Loop() {
		intercept(ctx, req, solve, handle)
	}
}
