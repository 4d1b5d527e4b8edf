package trace

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report"
)

// exportTime is how long sending a trace may take in all.
const exportTime = 2 * time.Second

// batch is how many spans are sent at once.
const batch = 512

// ToCollector returns an observer that sends the run to the collector that the variables
// of OpenTelemetry name, nil if they name none. The exporter reads the rest of them
// (headers, TLS, compression) by itself. Failed is called if the trace was not sent,
// which takes at most two seconds, or if the variables want what sx has not. The spans of
// the engine, if any, are sent after those of the run, as parts of the same resource.
//
// Source: opentelemetry.io/docs/specs/otel/protocol/exporter
func ToCollector(ctx context.Context, id string, getenv func(string) string, engine *Engine, failed func(error)) func(events.Event) {
	if !wanted(getenv) {
		return nil
	}
	client, err := newClient(cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL")))
	if err != nil { // of the CI system's making, perhaps: it costs the trace and no more
		failed(fmt.Errorf("no trace is sent: %w", err))
		return nil
	}
	parent := parentOf(ctx, getenv)
	return collect(id, func(r *report.Run) {
		ctx, cancel := context.WithTimeoutCause(ctx, exportTime, fmt.Errorf("no answer within %s", exportTime))
		defer cancel()
		if err := send(ctx, client, Spans(parent, r), within(about(ctx, r), engine.scopes(failed))); err != nil {
			failed(fmt.Errorf("sending the trace to the collector: %w", err))
		}
	})
}

// Span returns a function that gives the span of an output of the run, as a traceparent of
// the W3C, for engines to put their spans below it.
func Span(ctx context.Context, id string, getenv func(string) string) func(output string) string {
	of := trace.SpanContextFromContext(parentOf(ctx, getenv)).TraceID()
	if !of.IsValid() {
		of, _ = ids{id}.NewIDs(ctx)
	}
	return func(output string) string {
		span := ids{id}.NewSpanID(context.WithValue(ctx, idKey{}, output), of)
		return fmt.Sprintf("00-%s-%s-01", of, span)
	}
}

// wanted reports whether the variables ask for traces.
func wanted(getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	exporter := getenv("OTEL_TRACES_EXPORTER")
	named := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) != ""
	return exporter == "otlp" || exporter == "" && named
}

// newClient returns a client that does not try again: a collector that is not there must
// not hold up the end of a run.
func newClient(protocol string) (otlptrace.Client, error) {
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.NewClient(otlptracehttp.WithRetry(otlptracehttp.RetryConfig{})), nil
	case "grpc":
		return otlptracegrpc.NewClient(otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{})), nil
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: want grpc or http/protobuf", protocol)
}

// parentOf returns ctx with the span that TRACEPARENT names, as CI systems set it.
func parentOf(ctx context.Context, getenv func(string) string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
		"traceparent": getenv("TRACEPARENT"), "tracestate": getenv("TRACESTATE"),
	})
}

// send sends the spans of a run, then those of the engine.
func send(ctx context.Context, client otlptrace.Client, spans []sdktrace.ReadOnlySpan, engine []*otlp.ResourceSpans) error {
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return err
	}
	defer exporter.Shutdown(ctx)
	for len(spans) > 0 {
		n := min(len(spans), batch)
		if err := exporter.ExportSpans(ctx, spans[:n]); err != nil {
			return err
		}
		spans = spans[n:]
	}
	for _, part := range engine {
		if err := client.UploadTraces(ctx, []*otlp.ResourceSpans{part}); err != nil {
			return err
		}
	}
	return nil
}

// about returns what the spans of a run are about.
func about(ctx context.Context, r *report.Run) *resource.Resource {
	about, _ := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "sx"), attribute.String("service.version", r.Version)), resource.WithFromEnv())
	return about
}

// Spans returns the spans of a run, each after its parent's children. A parent in ctx
// gives the trace id.
func Spans(ctx context.Context, r *report.Run) []sdktrace.ReadOnlySpan {
	var ended gather
	provider := sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(ids{r.ID}), sdktrace.WithSpanProcessor(&ended), sdktrace.WithResource(about(ctx, r)))
	w := writer{tracer: provider.Tracer("codeberg.org/stagex/sx"), run: r, fetched: downloadsOf(r)}
	w.spans(ctx)
	return ended.spans
}

type writer struct {
	tracer trace.Tracer
	run    *report.Run
	// fetched are the downloads of the run, for its outputs.
	fetched downloads
}

func (w writer) at(seconds float64) time.Time {
	return w.run.Began.Add(time.Duration(seconds * float64(time.Second)))
}

// span makes a span with an id that follows from its name.
func (w writer) span(ctx context.Context, id, name string, from, to float64, below func(context.Context, trace.Span)) {
	ctx, s := w.tracer.Start(context.WithValue(ctx, idKey{}, id), name, trace.WithTimestamp(w.at(from)))
	if below != nil {
		below(ctx, s)
	}
	s.End(trace.WithTimestamp(w.at(to)))
}

func (w writer) spans(ctx context.Context) {
	r := w.run
	w.span(ctx, "", "sx", 0, r.Length, func(ctx context.Context, s trace.Span) {
		s.SetAttributes(attribute.String("sx.run", r.ID), attribute.String("sx.command", r.Command), attribute.String("sx.engine", r.Engine))
		if r.Code != nil {
			s.SetAttributes(attribute.Int("sx.code", *r.Code))
			if *r.Code != 0 {
				s.SetStatus(codes.Error, fmt.Sprintf("exit code %d", *r.Code))
			}
		}
		for _, o := range r.Outputs {
			if o.Start >= 0 {
				w.output(ctx, o)
			}
		}
		for i, d := range r.Downloads {
			w.download(ctx, i, d)
		}
	})
}

func (w writer) output(ctx context.Context, o *report.Output) {
	w.span(ctx, o.Ref, o.Ref, began(o), ended(w.run, o), func(ctx context.Context, s trace.Span) {
		for name, value := range attributes(o) {
			switch v := value.(type) {
			case string:
				s.SetAttributes(attribute.String("sx."+name, v))
			case int64:
				s.SetAttributes(attribute.Int64("sx."+name, v))
			}
		}
		if o.State == "failed" {
			s.SetStatus(codes.Error, o.Error)
		}
		for _, p := range phases(w.run, o, w.fetched.of(o)) {
			w.span(ctx, o.Ref+" "+p.name, p.name, p.from, p.to, nil)
		}
	})
}

func (w writer) download(ctx context.Context, i int, d *report.Download) {
	w.span(ctx, fmt.Sprintf("download %d", i), "download "+d.Name, d.Start, downloaded(w.run, d), func(_ context.Context, s trace.Span) {
		s.SetAttributes(attribute.Int64("sx.bytes", d.Bytes), attribute.String("sx.from", d.Place), attribute.String("sx.how", d.How))
		if d.Error != "" {
			s.SetStatus(codes.Error, d.Error)
		}
	})
}

// gather keeps the spans that ended.
type gather struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
}

func (g *gather) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (g *gather) Shutdown(context.Context) error                  { return nil }
func (g *gather) ForceFlush(context.Context) error                { return nil }

func (g *gather) OnEnd(s sdktrace.ReadOnlySpan) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spans = append(g.spans, s)
}

// ids makes the ids of a run.
type ids struct{ run string }

type idKey struct{}

var _ sdktrace.IDGenerator = ids{}

// NewIDs returns the ids of the run's own span.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	sum := sha256.Sum256([]byte("trace " + g.run))
	id := trace.TraceID(sum[:16])
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID returns the id of the span that ctx names.
func (g ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	name, _ := ctx.Value(idKey{}).(string)
	sum := sha256.Sum256([]byte("span " + g.run + " " + name))
	return trace.SpanID(sum[:8])
}
