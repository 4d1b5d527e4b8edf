package spans

import (
	"strings"
	"unicode/utf8"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

// shorten cuts the texts that the SDK's limits leave: a name is a whole RUN, and an error
// has the end of a log.
func shorten(spans []*otlp.ResourceSpans) {
	for _, of := range spans {
		for _, in := range of.ScopeSpans {
			for _, s := range in.Spans {
				s.Name = cut(s.Name)
				if s.Status != nil {
					s.Status.Message = cut(s.Status.Message)
				}
				shortenValues(s.Attributes)
				for _, e := range s.Events {
					e.Name = cut(e.Name)
					shortenValues(e.Attributes)
				}
			}
		}
	}
}

func shortenValues(all []*common.KeyValue) {
	for _, kv := range all {
		if v, ok := kv.GetValue().GetValue().(*common.AnyValue_StringValue); ok {
			v.StringValue = cut(v.StringValue)
		}
	}
}

// cut shortens s to maxText bytes, at the end of a character. OTLP wants UTF-8.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
