package trace

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/sdk/resource"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resources "go.opentelemetry.io/proto/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"codeberg.org/stagex/sx/cmd/internal/report"
)

// maxEngineSpans bounds the spans of the engine that are kept of a run: some hundred bytes
// each. The engine itself keeps a few thousand of one build.
const maxEngineSpans = 100_000

// droppedSpans is the attribute in which the engine says how many spans of a build it
// dropped (buildkit/embedded/spans).
const droppedSpans = "sx.dropped_spans"

// Engine keeps the spans of the embedded engine until the run has ended. It is safe for
// concurrent use.
type Engine struct {
	mu      sync.Mutex
	kept    []*otlp.ScopeSpans
	count   int
	dropped int
	told    sync.Once
}

// Add keeps spans, as far as there is room.
func (e *Engine) Add(spans []*otlp.ResourceSpans) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, of := range spans {
		for _, in := range of.ScopeSpans {
			for _, s := range in.Spans {
				e.dropped += missing(s.Attributes)
			}
			room := min(maxEngineSpans-e.count, len(in.Spans))
			e.dropped += len(in.Spans) - room
			in.Spans = in.Spans[:room]
			e.count += room
			if room > 0 {
				e.kept = append(e.kept, in)
			}
		}
	}
}

func missing(attributes []*common.KeyValue) int {
	for _, kv := range attributes {
		if kv.Key == droppedSpans {
			return int(kv.GetValue().GetIntValue())
		}
	}
	return 0
}

// scopes returns what was kept, and calls failed, once, if that is not all.
func (e *Engine) scopes(failed func(error)) []*otlp.ScopeSpans {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dropped > 0 {
		e.told.Do(func() {
			failed(fmt.Errorf("the trace lacks %d spans of the engine: a build may have 4096, a run %d", e.dropped, maxEngineSpans))
		})
	}
	return e.kept
}

// within returns what is to be sent, in messages of at most batch spans.
func within(about *resource.Resource, scopes []*otlp.ScopeSpans) (messages []*otlp.ResourceSpans) {
	of := &resources.Resource{}
	for _, kv := range about.Attributes() {
		value := &common.AnyValue_StringValue{StringValue: kv.Value.String()}
		of.Attributes = append(of.Attributes, &common.KeyValue{Key: string(kv.Key), Value: &common.AnyValue{Value: value}})
	}
	count := batch
	for _, in := range scopes {
		if count += len(in.Spans); count > batch {
			messages = append(messages, &otlp.ResourceSpans{Resource: of, SchemaUrl: about.SchemaURL()})
			count = len(in.Spans)
		}
		last := messages[len(messages)-1]
		last.ScopeSpans = append(last.ScopeSpans, in)
	}
	return messages
}

// below returns the spans of the engine that belong to each output of a run, by its index,
// in the order in which they began, a parent before its children.
func below(r *report.Run, scopes []*otlp.ScopeSpans) map[int][]*otlp.Span {
	parents, owner := map[string]string{}, map[string]int{}
	for i, o := range r.Outputs {
		id := ids{r.ID}.NewSpanID(context.WithValue(context.Background(), idKey{}, o.Ref), [16]byte{})
		owner[string(id[:])] = i
	}
	for _, in := range scopes {
		for _, s := range in.Spans {
			parents[string(s.SpanId)] = string(s.ParentSpanId)
		}
	}
	all := map[int][]*otlp.Span{}
	for _, in := range scopes {
		for _, s := range in.Spans {
			if i, ok := ownerOf(string(s.ParentSpanId), parents, owner); ok {
				all[i] = append(all[i], s)
			}
		}
	}
	for _, spans := range all {
		slices.SortStableFunc(spans, func(a, b *otlp.Span) int {
			return cmp.Or(cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano), cmp.Compare(b.EndTimeUnixNano, a.EndTimeUnixNano))
		})
	}
	return all
}

// maxDepth bounds the way from a span up to its output's.
const maxDepth = 100

func ownerOf(id string, parents map[string]string, owner map[string]int) (int, bool) {
	for range maxDepth {
		if i, ok := owner[id]; ok {
			return i, true
		}
		id = parents[id]
	}
	return 0, false
}
