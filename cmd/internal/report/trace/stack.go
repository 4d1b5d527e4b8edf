package trace

import (
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"codeberg.org/stagex/sx/cmd/internal/report"
)

// stack puts spans of the engine below the events of their output: each into the first row
// in which it is alone, or lies within one that it belongs to.
func stack(r *report.Run, output []chromeEvent, spans []*otlp.Span) (all []chromeEvent) {
	parents := map[string]string{}
	for _, s := range spans {
		parents[string(s.SpanId)] = string(s.ParentSpanId)
	}
	within := output[0]
	for _, p := range output[1:] {
		if p.Name == solving {
			within = p
		}
	}
	first, last := within.Time, within.end()
	rows := make([]openRow, 1, rowsEach)
	rows[0] = openRow{{within, ""}}
	for _, s := range spans {
		// Events have milliseconds: a span may seem to begin just before its output.
		from := min(max(since(r, s.StartTimeUnixNano), first), last)
		dur := max(min(since(r, s.EndTimeUnixNano), last)-from, 0)
		e := chromeEvent{Name: s.Name, Cat: "engine", Phase: "X", Time: from, Dur: &dur, PID: outputRow, Args: said(s)}
		for i := range rowsEach {
			if i == len(rows) {
				rows = append(rows, nil)
			}
			if rows[i].add(openSpan{e, string(s.SpanId)}, parents) {
				e.TID = output[0].TID + i
				all = append(all, e)
				break
			}
		}
	}
	return all
}

// openRow has what has not ended in a row, the innermost last.
type openRow []openSpan

type openSpan struct {
	chromeEvent
	id string // "" of an output, to which all belong
}

// add adds s to the row, unless it would lie in what it does not belong to.
func (row *openRow) add(s openSpan, parents map[string]string) bool {
	open := *row
	for len(open) > 0 && open[len(open)-1].end() <= s.Time {
		open = open[:len(open)-1]
	}
	if n := len(open); n > 0 && (open[n-1].end() < s.end() || !belongs(s.id, open[n-1].id, parents)) {
		return false
	}
	*row = append(open, s)
	return true
}

// belongs reports whether a span is below another.
func belongs(id, to string, parents map[string]string) bool {
	if to == "" {
		return true
	}
	for range maxDepth {
		if id = parents[id]; id == "" || id == to {
			break
		}
	}
	return id == to
}

// since returns when it was, in microseconds since the run began.
func since(r *report.Run, nano uint64) int64 {
	return time.Unix(0, int64(nano)).Sub(r.Began).Microseconds()
}

// said returns the attributes of a span of the engine.
func said(s *otlp.Span) map[string]any {
	all := map[string]any{}
	for _, kv := range s.Attributes {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[kv.Key] = v.IntValue
		}
	}
	if s.Status.GetMessage() != "" {
		all["error"] = s.Status.GetMessage()
	}
	return all
}
