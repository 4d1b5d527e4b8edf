// Package spans traces what the engine does for a build, if the sx that asked for the
// build wants that, and sends it to that sx.
//
// A request that names a span of the caller gets a tracer of its own; BuildKit's spans
// below it are kept until the build ends, and then go through the build's session to the
// OTLP trace service that sx offers there. Other requests pass untouched.
//
// The package opens no connection, reads no variable, and knows no collector. A build
// keeps at most maxSpans spans; of those beyond that it sends the number.
package spans

import (
	"context"
	"fmt"
	"sync"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/session"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// The spans of one build are bounded.
const (
	maxSpans = 4096
	maxText  = 1 << 10         // bytes of a name or another text
	batch    = 512             // spans in a message
	sendTime = 2 * time.Second // for all of them
)

// Dropped is the attribute of a request's span that has the number of spans below it that
// were not kept.
const Dropped = "sx.dropped_spans"

// scope names the library that made the spans.
const scope = "github.com/moby/buildkit"

// Sessions finds the session of an sx.
type Sessions interface {
	Get(ctx context.Context, id string, noWait bool) (session.Caller, error)
}

// Intercept returns an interceptor that traces builds.
func Intercept(sessions Sessions) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		build, ok := req.(*controlapi.SolveRequest)
		if !ok {
			return handle(ctx, req)
		}
		parent := callersSpan(ctx)
		if !parent.IsSampled() {
			return handle(ctx, req)
		}
		kept := &recorder{}
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(kept), sdktrace.WithResource(resource.Empty()), sdktrace.WithRawSpanLimits(limits()))
		traced, span := provider.Tracer(scope).Start(trace.ContextWithRemoteSpanContext(ctx, parent), info.FullMethod[1:])
		resp, err := handle(traced, req)
		if n := kept.stop(); n > 0 {
			span.SetAttributes(attribute.Int(Dropped, n))
		}
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
		if err := send(ctx, sessions, build.Session, kept.all()); err != nil {
			logrus.Warnf("sending the spans of a build to sx: %v", err)
		}
		return resp, err
	}
}

// callersSpan returns the span that a request names.
func callersSpan(ctx context.Context) trace.SpanContext {
	named := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(named) != 1 {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": named[0]}))
}

func limits() sdktrace.SpanLimits {
	const few = 32
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit: maxText, AttributeCountLimit: few, EventCountLimit: few, LinkCountLimit: few,
		AttributePerEventCountLimit: few, AttributePerLinkCountLimit: few,
	}
}

// recorder keeps the spans of one request that have ended.
type recorder struct {
	mu      sync.Mutex
	kept    []sdktrace.ReadOnlySpan
	dropped int
	stopped bool
}

var _ sdktrace.SpanProcessor = (*recorder)(nil)

func (r *recorder) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (r *recorder) Shutdown(context.Context) error                  { return nil }
func (r *recorder) ForceFlush(context.Context) error                { return nil }

// OnEnd keeps a span, unless there are too many. The request's own is kept in any case;
// what another build goes on with after this one has ended is not.
func (r *recorder) OnEnd(s sdktrace.ReadOnlySpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch root := s.Parent().IsRemote(); {
	case root || len(r.kept) < maxSpans && !r.stopped:
		r.kept = append(r.kept, s)
	case !r.stopped:
		r.dropped++
	}
}

// stop ends keeping spans, and returns how many were dropped before.
func (r *recorder) stop() (dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return r.dropped
}

func (r *recorder) all() []sdktrace.ReadOnlySpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept
}

// send sends spans to the sx of a session. The build may have been cancelled, and sx may
// be gone.
func send(ctx context.Context, sessions Sessions, id string, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), sendTime, fmt.Errorf("not done within %s", sendTime))
	defer cancel()
	sx, err := sessions.Get(ctx, id, true)
	if err != nil || sx == nil {
		return err
	}
	to := otlptrace.NewUnstarted(&client{collector.NewTraceServiceClient(sx.Conn())})
	for len(spans) > 0 {
		n := min(len(spans), batch)
		if err := to.ExportSpans(ctx, spans[:n]); err != nil {
			return err
		}
		spans = spans[n:]
	}
	return nil
}

// client sends spans over a connection that is there.
type client struct{ to collector.TraceServiceClient }

var _ otlptrace.Client = (*client)(nil)

func (c *client) Start(context.Context) error { return nil }
func (c *client) Stop(context.Context) error  { return nil }

func (c *client) UploadTraces(ctx context.Context, spans []*otlp.ResourceSpans) error {
	shorten(spans)
	_, err := c.to.Export(ctx, &collector.ExportTraceServiceRequest{ResourceSpans: spans})
	return err
}
