package enginetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
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

// span returns a span of a name; nil if there is none.
func (s *spans) span(is func(name string) bool) *otlp.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.kept {
		if is(span.Name) {
			return span
		}
	}
	return nil
}

// up returns the names of a span and of those above it, in each of which it lies.
func (s *spans) up(t *testing.T, span *otlp.Span) (names []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	byID := map[string]*otlp.Span{}
	for _, span := range s.kept {
		byID[string(span.SpanId)] = span
	}
	const millisecond = 1_000_000 // of which the times of outputs are multiples
	for at := span; at != nil && len(names) < 100; at = byID[string(at.ParentSpanId)] {
		names = append(names, at.Name)
		if !bytes.Equal(at.TraceId, span.TraceId) || at.StartTimeUnixNano > span.StartTimeUnixNano+millisecond || at.EndTimeUnixNano+millisecond < span.EndTimeUnixNano {
			t.Errorf("%s does not lie within %s", span.Name, at.Name)
		}
	}
	return names
}

// TestEmbeddedTrace: the embedded engine, here one that another run started, puts its spans
// below those of the outputs that it builds, in OTLP and in a Chrome trace. It learns
// nothing of the collector, and builds the same bytes.
func TestEmbeddedTrace(t *testing.T) {
	t.Parallel()
	kept := &spans{}
	server := httptest.NewServer(kept)
	defer server.Close()
	tree := NewTree(t, programs, "", `
-- packages/core/first/package.toml --
[package]
name = "first"
-- packages/core/first/Containerfile --
FROM scratch
COPY tool /tool
RUN --network=none ["/tool", "need", "1", "100ms"]
`)
	tree.Sx("build", "core-first")
	digest := tree.Digest("core-first")
	if kept.kept != nil {
		t.Fatalf("nothing asked for a trace: %v", kept.kept)
	}
	tree.Env = append(tree.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=hunter2",
		"TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	traced := tree.Start("build", "core-first", "--no-cache", "--trace", tree.Path("trace.json"))
	Until(t, patience, "the engine runs", func() bool { return tree.engineWithout(server.URL, "OTEL", "hunter2") })
	traced.Want(0)
	if again := tree.Digest("core-first"); again != digest {
		t.Errorf("traced: %s, before: %s", again, digest)
	}
	run := kept.span(func(name string) bool { return strings.Contains(name, `RUN --network=none ["/tool", "need"`) })
	if run == nil {
		t.Fatalf("of %d spans none is the RUN", len(kept.kept))
	}
	want := []string{run.Name, "moby.buildkit.v1.Control/Solve", "core-first", "sx"}
	if got := kept.up(t, run); !slices.Equal(got, want) || run.TraceId[0] != 0x0a {
		t.Errorf("above the RUN are %q, of the trace %x", got, run.TraceId)
	}
	for _, part := range []string{"exporting to oci image format", "export layers"} {
		if s := kept.span(func(name string) bool { return name == part }); s == nil || !slices.Contains(kept.up(t, s), "core-first") {
			t.Errorf("%s is not below core-first", part)
		}
	}
	if took := time.Duration(run.EndTimeUnixNano - run.StartTimeUnixNano); took < 100*time.Millisecond {
		t.Errorf("a RUN of 100ms took %s", took)
	}
	if file := tree.Read("trace.json"); !strings.Contains(file, `RUN --network=none [\"/tool\", \"need\"`) {
		t.Errorf("it is not in the file:\n%s", file)
	}
}

// engineWithout reports whether an engine runs, and fails the test if it was told one of the words.
func (t *Tree) engineWithout(words ...string) (runs bool) {
	t.t.Helper()
	for _, pid := range t.Engines() {
		for _, file := range []string{"environ", "cmdline"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil || len(data) == 0 {
				continue // it has just ended
			}
			runs = true
			for _, word := range words {
				if bytes.Contains(data, []byte(word)) {
					t.t.Errorf("%s of the engine has %q: %q", file, word, data)
				}
			}
		}
	}
	return runs
}
