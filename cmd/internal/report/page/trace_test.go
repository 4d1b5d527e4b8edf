package page_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/reporttest"
	"codeberg.org/stagex/sx/cmd/internal/report/trace"
)

// TestTraceOpens opens a Chrome trace in Chromium, in speedscope, and wants in its table each
// output with the time that it took, and what the engine did for one. chrome://tracing
// itself is not in Debian's Chromium.
func TestTraceOpens(t *testing.T) {
	viewer := os.Getenv("SX_TEST_SPEEDSCOPE")
	if viewer == "" {
		t.Skip("SX_TEST_SPEEDSCOPE names no folder with speedscope's index.html; scripts/test gets one")
	}
	o := reporttest.Options{Outputs: 16, Jobs: 1}
	run, written := report.Of(reporttest.Stream(o), time.Now()), filepath.Join(t.TempDir(), "trace.js")
	var doc bytes.Buffer
	if err := trace.WriteChrome(&doc, run, engineSpans(t, run)); err != nil {
		t.Fatal(err)
	}
	load := fmt.Sprintf("speedscope.loadFileFromBase64(%q, %q)", "trace.json", base64.StdEncoding.EncodeToString(doc.Bytes()))
	if err := os.WriteFile(written, []byte(load), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBrowser(t)
	p := b.attach(t)
	p.size(1400, 1600, "light") // the table has the rows that there is room for
	p.do("Page.navigate", map[string]any{"url": "file://" + viewer + "/index.html#localProfilePath=" + written})
	p.wait(`document.body && document.body.innerText.includes("run (pid 1")`)
	p.press("n") // the next row of the trace
	p.wait(`document.body.innerText.includes("outputs (pid 2")`)
	p.press("3")
	p.wait(`document.body.innerText.includes("Symbol Name")`)
	rows := p.totals()
	for _, o := range run.Outputs {
		if got, want := rows[o.Ref], o.End-o.Start; !shows(got, want) {
			t.Errorf("%s took %q, want %.3f s", o.Ref, got, want)
		}
	}
	if got, want := rows["RUN make"], (run.Outputs[0].End-run.Outputs[0].Start)/2; !shows(got, want) {
		t.Errorf("the engine's RUN took %q, want %.3f s; there are %v", got, want, rows)
	}
	p.shoot("speedscope", false)
	for _, url := range b.requests {
		if !strings.HasPrefix(url, "file://") {
			t.Errorf("it asked for %s", url)
		}
	}
}

// engineSpans are a RUN of the first output, in the middle of its time.
func engineSpans(t *testing.T, run *report.Run) []*otlp.ScopeSpans {
	t.Helper()
	o := run.Outputs[0]
	parent, err := hex.DecodeString(strings.Split(trace.Span(t.Context(), run.ID, func(string) string { return "" })(o.Ref), "-")[2])
	if err != nil {
		t.Fatal(err)
	}
	at := func(share float64) uint64 {
		return uint64(run.Began.Add(time.Duration((o.Start + (o.End-o.Start)*share) * 1e9)).UnixNano())
	}
	return []*otlp.ScopeSpans{{Spans: []*otlp.Span{{SpanId: []byte("span0000"), ParentSpanId: parent, Name: "RUN make", StartTimeUnixNano: at(0.25), EndTimeUnixNano: at(0.75)}}}}
}

// totals returns the times in speedscope's table, by name.
func (p *tab) totals() map[string]string {
	p.t.Helper()
	text, _ := p.eval(`JSON.stringify([...document.querySelectorAll("tr")].map((r) => [...r.children].map((c) => c.innerText)))`).(string)
	var rows [][]string
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		p.t.Fatal(err)
	}
	all := map[string]string{}
	for _, cells := range rows {
		if len(cells) < 3 {
			continue
		}
		total, _, _ := strings.Cut(strings.TrimSpace(cells[0]), " (")
		name, _, _ := strings.Cut(strings.TrimSpace(cells[len(cells)-1]), " {") // and its arguments
		all[name] = total
	}
	return all
}

// shows reports whether speedscope wrote a time as text, which it does to two decimals, and
// to whole seconds from a minute on.
func shows(text string, seconds float64) bool {
	var whole, rest int
	if n, _ := fmt.Sscanf(text, "%d:%02d", &whole, &rest); n == 2 {
		said := float64(60*whole + rest)
		return said <= seconds+0.01 && seconds < said+1.01
	}
	said, err := time.ParseDuration(text)
	return err == nil && math.Abs(said.Seconds()-seconds) < 0.01
}
