package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/reporttest"
	"codeberg.org/stagex/sx/cmd/internal/report/trace"
)

// receiver takes spans by HTTP and by gRPC.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu      sync.Mutex
	spans   []*otlp.Span
	service string
	header  string // x-secret of the last request
}

func (r *receiver) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range in.ResourceSpans {
		r.service = text(of.Resource.Attributes, "service.name")
		for _, scope := range of.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var in collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &in); err != nil || req.URL.Path != "/v1/traces" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	r.header = req.Header.Get("x-secret")
	r.Export(req.Context(), &in)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func text(all []*common.KeyValue, key string) string {
	for _, kv := range all {
		if kv.Key == key {
			return kv.Value.GetStringValue()
		}
	}
	return ""
}

// clear takes the variables of this process's own surroundings away.
func clear(t *testing.T) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "TRACE") {
			t.Setenv(name, "")
		}
	}
}

// export plays a run to the collector that the variables name.
func export(t *testing.T, o reporttest.Options) (*report.Run, time.Duration) {
	t.Helper()
	stream := reporttest.Stream(o)
	var failed error
	observe := trace.ToCollector(t.Context(), stream.ID, os.Getenv, nil, func(err error) { failed = err })
	if observe == nil {
		t.Fatalf("no observer: %v", failed)
	}
	began := time.Now()
	for _, e := range stream.Events {
		observe(e)
	}
	took := time.Since(began)
	if failed != nil {
		t.Fatal(failed)
	}
	return report.Of(stream, time.Now()), took
}

func TestHTTP(t *testing.T) {
	clear(t)
	r := &receiver{}
	server := httptest.NewServer(r)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-secret=hunter2")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=nightly")
	t.Setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	run, _ := export(t, reporttest.Options{Outputs: 300, Failing: 20, Differing: 5})
	if r.header != "hunter2" || r.service != "nightly" {
		t.Errorf("the header is %q, the service %q", r.header, r.service)
	}
	wantSpans(t, r.spans, run)
	wantParents(t, r.spans, run)
	for _, s := range r.spans {
		if got := hexOf(s.TraceId); got != "0af7651916cd43dd8448eb211c80319c" {
			t.Fatalf("%s is of the trace %s, not of that of TRACEPARENT", s.Name, got)
		}
		for _, kv := range s.Attributes {
			if strings.Contains(kv.Value.GetStringValue(), "hunter2") {
				t.Errorf("%s has a header", s.Name)
			}
		}
	}
}

// wantParents compares what engines are told of the outputs' spans with the spans.
func wantParents(t *testing.T, spans []*otlp.Span, run *report.Run) {
	t.Helper()
	of, told := trace.Span(t.Context(), run.ID, os.Getenv), map[string]bool{}
	for _, o := range run.Outputs {
		told[of(o.Ref)] = true
	}
	n := 0
	for _, s := range spans {
		if told["00-"+hexOf(s.TraceId)+"-"+hexOf(s.SpanId)+"-01"] {
			n++
		}
	}
	if n == 0 || n != len(started(run)) {
		t.Errorf("engines are told the spans of %d outputs, %d have one", n, len(started(run)))
	}
}

func started(run *report.Run) (refs []string) {
	for _, o := range run.Outputs {
		if o.Start >= 0 {
			refs = append(refs, o.Ref)
		}
	}
	return refs
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := ""
	for _, c := range b {
		out += string(digits[c>>4]) + string(digits[c&15])
	}
	return out
}

func TestGRPC(t *testing.T) {
	clear(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, server := &receiver{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	go server.Serve(l)
	defer server.Stop()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	run, _ := export(t, reporttest.Options{Outputs: 16})
	wantSpans(t, r.spans, run)
	wantParents(t, r.spans, run)
}

// wantSpans checks that the spans are those of the run: one root, each within its parent,
// with the times and facts of the events.
func wantSpans(t *testing.T, spans []*otlp.Span, run *report.Run) {
	t.Helper()
	byID, byName := map[string]*otlp.Span{}, map[string]*otlp.Span{}
	for _, s := range spans {
		if byID[string(s.SpanId)] != nil {
			t.Errorf("two spans have one id: %s", s.Name)
		}
		byID[string(s.SpanId)], byName[s.Name] = s, s
	}
	root := byName["sx"]
	if root == nil {
		t.Fatalf("of %d spans none is the run", len(spans))
	}
	children := map[string][]string{}
	for _, s := range spans {
		if s == root {
			continue
		}
		parent := byID[string(s.ParentSpanId)]
		if parent == nil {
			t.Fatalf("%s has no parent", s.Name)
		}
		children[parent.Name] = append(children[parent.Name], s.Name)
		if s.StartTimeUnixNano < parent.StartTimeUnixNano || s.EndTimeUnixNano > parent.EndTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s does not lie within %s", s.Name, parent.Name)
		}
	}
	for _, o := range run.Outputs {
		s := byName[o.Ref]
		if o.Start < 0 {
			if s != nil {
				t.Errorf("%s did not run, and has a span", o.Ref)
			}
			continue
		}
		if s == nil {
			t.Fatalf("%s has no span", o.Ref)
		}
		if end := time.Unix(0, int64(s.EndTimeUnixNano)).Sub(run.Began); int64(end.Milliseconds()) != int64(o.End*1000+0.5) {
			t.Errorf("%s ends at %s, not %v", o.Ref, end, o.End)
		}
		for name, want := range map[string]string{"sx.digest": o.Digest, "sx.verdict": o.Verdict, "sx.reason": o.Reason, "sx.engine": o.Engine, "sx.outcome": o.State} {
			if got := text(s.Attributes, name); got != want {
				t.Errorf("%s: %s is %q, want %q", o.Ref, name, got, want)
			}
		}
		if failed := s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR; failed != (o.State == "failed") {
			t.Errorf("%s: failed: %t", o.Ref, failed)
		}
		if below := strings.Join(children[o.Ref], ", "); o.State == "built" && !strings.HasSuffix(below, "solving, committing") || o.Waited[1] > 0 && (!strings.Contains(below, "waiting for downloads") || !strings.Contains(below, "fetching")) {
			t.Errorf("below %s are %s", o.Ref, below)
		}
	}
}

// A collector that takes the connection and says nothing costs two seconds at most.
func TestDeadCollector(t *testing.T) {
	clear(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
		stream := reporttest.Stream(reporttest.Options{Outputs: 1000})
		failed := false
		observe := trace.ToCollector(t.Context(), stream.ID, os.Getenv, nil, func(error) { failed = true })
		last := len(stream.Events) - 1
		for _, e := range stream.Events[:last] {
			observe(e)
		}
		began := time.Now()
		observe(stream.Events[last])
		if took := time.Since(began); !failed || took > 4*time.Second { // two, on a machine that is not busy
			t.Errorf("%s: failed: %t, after %s", protocol, failed, took)
		}
	}
}

func TestNotAsked(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing": {}, "none": {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
		"another": {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
		"off":     {"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
	} {
		if observe := trace.ToCollector(t.Context(), "x", func(name string) string { return env[name] }, nil, nil); observe != nil {
			t.Errorf("%s: an observer", name)
		}
	}
}

// TestChrome checks a file against the Trace Event Format, field by field: complete
// events and metadata, integers, no two of one row that overlap without one being in the
// other.
func TestChrome(t *testing.T) {
	stream := reporttest.Stream(reporttest.Options{Outputs: 60, Failing: 20, Differing: 5})
	path := filepath.Join(t.TempDir(), "trace.json")
	observe := trace.ToFile(stream.ID, path, nil, func(err error) { t.Error(err) })
	for _, e := range stream.Events {
		observe(e)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents     []chromeEvent `json:"traceEvents"`
		DisplayTimeUnit string        `json:"displayTimeUnit"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil || file.DisplayTimeUnit != "ms" {
		t.Fatalf("%v, %q", err, file.DisplayTimeUnit)
	}
	run := report.Of(stream, time.Now())
	rows, spans := map[[2]int][]chromeEvent{}, map[string]chromeEvent{}
	for _, e := range file.TraceEvents {
		switch {
		case e.Ph == "M" && e.Name == "process_name" && e.Args["name"] != "":
		case e.Ph == "X" && e.Name != "" && e.Dur != nil && *e.Dur >= 0 && e.TS >= 0 && e.PID > 0:
			rows[[2]int{e.PID, e.TID}] = append(rows[[2]int{e.PID, e.TID}], e)
			spans[e.Name] = e
		default:
			t.Errorf("%+v", e)
		}
	}
	for _, row := range rows {
		for i, a := range row {
			for _, b := range row[i+1:] {
				endA, endB := a.TS+*a.Dur, b.TS+*b.Dur
				if a.TS < b.TS && b.TS < endA && endA < endB || b.TS < a.TS && a.TS < endB && endB < endA {
					t.Errorf("%s and %s overlap in a row", a.Name, b.Name)
				}
			}
		}
	}
	for _, o := range run.Outputs {
		s, ok := spans[o.Ref]
		if ok != (o.Start >= 0) {
			t.Errorf("%s has a span: %t", o.Ref, ok)
		}
		if ok && (s.TS != int64(o.Start*1e6+0.5) || s.TS+*s.Dur != int64(o.End*1e6+0.5) || s.Cat != o.State || o.Verdict != "" && s.Args["verdict"] != o.Verdict) {
			t.Errorf("%s: %+v", o.Ref, s)
		}
	}
}

type chromeEvent struct {
	Name, Cat, Ph string
	TS            int64
	Dur           *int64
	PID, TID      int
	Args          map[string]any
}

// A file that cannot be written is said, and fails nothing.
func TestChromeUnwritable(t *testing.T) {
	var failed error
	observe := trace.ToFile("x", filepath.Join(t.TempDir(), "none", "trace.json"), nil, func(err error) { failed = err })
	observe(events.Event{Time: time.Now(), Event: events.RunEnd})
	if failed == nil {
		t.Error("nothing is said")
	}
}
