package trace_test

import (
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/reporttest"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
	"codeberg.org/stagex/sx/cmd/internal/report/trace"
)

// withEngine returns a run, and an engine that sent spans below its first output: a request
// as long as the output, in it two at the same time, and a part of the first of them that
// lies within the second too.
func withEngine(t *testing.T) (*runs.Run, *report.Output, *trace.Engine) {
	t.Helper()
	stream := reporttest.Stream(reporttest.Options{Outputs: 16})
	run := report.Of(stream, time.Now())
	o := run.Outputs[0]
	named := strings.Split(trace.Span(t.Context(), stream.ID, os.Getenv)(o.Ref), "-")
	span := func(id, parent, name string, from, to float64) *otlp.Span {
		at := func(share float64) uint64 {
			return uint64(run.Began.Add(time.Duration((o.Start + (o.End-o.Start)*share) * 1e9)).UnixNano())
		}
		return &otlp.Span{TraceId: raw(t, named[1]), SpanId: []byte(id), ParentSpanId: []byte(parent), Name: name, StartTimeUnixNano: at(from), EndTimeUnixNano: at(to)}
	}
	e := &trace.Engine{}
	e.Add([]*otlp.ResourceSpans{{ScopeSpans: []*otlp.ScopeSpans{{Spans: []*otlp.Span{
		span("part0000", "one00000", "part of one", 0.4, 0.5), // children end first
		span("one00000", "request0", "one", 0.2, 0.7),
		span("two00000", "request0", "two", 0.3, 0.6),
		span("request0", string(raw(t, named[2])), "request", 0, 1),
		span("lost0000", "unknown0", "of no output", 0, 1),
	}}}}})
	return stream, o, e
}

func raw(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The spans of the engine reach the collector in the trace and the resource of the run.
func TestEngineToCollector(t *testing.T) {
	clear(t)
	r := &receiver{}
	server := httptest.NewServer(r)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SERVICE_NAME", "nightly")
	stream, o, engine := withEngine(t)
	observe := trace.ToCollector(t.Context(), stream.ID, os.Getenv, engine, func(err error) { t.Error(err) })
	for _, e := range stream.Events {
		observe(e)
	}
	byName := map[string]*otlp.Span{}
	for _, s := range r.spans {
		byName[s.Name] = s
	}
	for child, parent := range map[string]string{"request": o.Ref, "one": "request", "two": "request", "part of one": "one"} {
		c, p := byName[child], byName[parent]
		if c == nil || p == nil || string(c.ParentSpanId) != string(p.SpanId) || string(c.TraceId) != string(p.TraceId) {
			t.Errorf("%s is not below %s: %v, %v", child, parent, c, p)
		}
	}
	if r.service != "nightly" { // of the last spans: those of the engine
		t.Errorf("the spans of the engine are of the service %q", r.service)
	}
}

// In a Chrome trace a span lies in its parent, or in a row of its own.
func TestEngineInChrome(t *testing.T) {
	stream, o, engine := withEngine(t)
	path := filepath.Join(t.TempDir(), "trace.json")
	observe := trace.ToFile(stream.ID, path, engine, func(err error) { t.Error(err) })
	for _, e := range stream.Events {
		observe(e)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ TraceEvents []chromeEvent }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	byName := map[string]chromeEvent{}
	for _, e := range file.TraceEvents {
		if e.Cat == "engine" || e.Name == o.Ref {
			byName[e.Name] = e
		}
	}
	row := byName[o.Ref].TID
	for name, want := range map[string]int{"request": row, "one": row, "part of one": row, "two": row + 1} {
		e, ok := byName[name]
		if !ok || e.TID != want {
			t.Errorf("%s: %+v, want row %d", name, e, want)
		}
		if of := byName[o.Ref]; ok && (e.TS < of.TS || e.TS+*e.Dur > of.TS+*of.Dur) {
			t.Errorf("%s does not lie within its output: %+v, %+v", name, e, of)
		}
	}
	if len(byName) != 5 {
		t.Errorf("got %v", byName)
	}
}

// What is dropped is said once, however many traces there are.
func TestEngineDropped(t *testing.T) {
	stream, _, engine := withEngine(t)
	count := &common.KeyValue{Key: "sx.dropped_spans", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 3}}}
	engine.Add([]*otlp.ResourceSpans{{ScopeSpans: []*otlp.ScopeSpans{{Spans: []*otlp.Span{{Attributes: []*common.KeyValue{count}}}}}}})
	engine.Add([]*otlp.ResourceSpans{{ScopeSpans: []*otlp.ScopeSpans{{Spans: slices.Repeat([]*otlp.Span{{}}, 100_000)}}}}) // six were there
	var said []string
	for range 2 {
		observe := trace.ToFile(stream.ID, filepath.Join(t.TempDir(), "trace.json"), engine, func(err error) { said = append(said, err.Error()) })
		observe(stream.Events[0])
		observe(stream.Events[len(stream.Events)-1])
	}
	if len(said) != 1 || !strings.Contains(said[0], "lacks 9 spans") {
		t.Errorf("said: %q", said)
	}
}
