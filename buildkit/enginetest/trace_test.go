package enginetest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is a collector that keeps what it gets.
type spans struct {
	mu   sync.Mutex
	kept []*otlp.Span
}

func (s *spans) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var in collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range in.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			s.kept = append(s.kept, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// below returns the names of the spans whose parent is the one with that name.
func (s *spans) below(name string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, parent := range s.kept {
		for _, span := range s.kept {
			if parent.Name == name && bytes.Equal(span.ParentSpanId, parent.SpanId) && bytes.Equal(span.TraceId, parent.TraceId) {
				names = append(names, span.Name)
			}
		}
	}
	return names
}

// TestRemoteTrace: an engine elsewhere that sends traces puts its own spans below those of
// the outputs that it builds.
func TestRemoteTrace(t *testing.T) {
	t.Parallel()
	needStock(t)
	kept := &spans{}
	server := httptest.NewServer(kept)
	defer server.Close()
	traced := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=50"}
	stock := &Stock{env: traced}
	stock.start(t, programs)
	tree := NewTree(t, programs, "", `
-- packages/core/first/package.toml --
[package]
name = "first"
-- packages/core/first/Containerfile --
FROM scratch
COPY file /
-- packages/core/first/file --
first
`)
	tree.Env = append(tree.Env, "SX_ENGINE_ADDRESS=unix://"+stock.Socket)
	tree.Env = append(tree.Env, traced...)
	tree.Sx("build", "core-first")
	Until(t, 30*time.Second, "the engine's span of the build is below that of core-first", func() bool {
		for _, name := range kept.below("core-first") {
			if name == "moby.buildkit.v1.Control/Solve" {
				return true
			}
		}
		return false
	})
}
