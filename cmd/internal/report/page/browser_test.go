package page_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/live"
	"codeberg.org/stagex/sx/cmd/internal/report/reporttest"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// write writes the page of generated runs and returns its URL and size.
func write(t *testing.T, all ...reporttest.Options) (url string, size int) {
	t.Helper()
	var shown []*report.Run
	for _, o := range all {
		r := report.Of(reporttest.Stream(o), time.Now())
		o.Seed += 7
		r.AddHistory([]*report.Run{report.Of(reporttest.Stream(o), time.Now())})
		shown = append(shown, r)
	}
	var doc bytes.Buffer
	if err := report.WritePage(&doc, shown...); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, doc.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + path, doc.Len()
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in:\n%.1500s", part, got)
		}
	}
}

// TestBrowser drives Chromium through pages as people use them. One browser serves all.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	t.Run("use", func(t *testing.T) { testUse(t, b) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, b) })
	t.Run("narrow and dark", func(t *testing.T) { testNarrow(t, b) })
	t.Run("interrupted", func(t *testing.T) { testInterrupted(t, b) })
	t.Run("fleet", func(t *testing.T) { testFleet(t, b) })
	t.Run("large", func(t *testing.T) { testLarge(t, b) })
	t.Run("print", func(t *testing.T) { testPrint(t, b) })
	t.Run("access", func(t *testing.T) { testAccess(t, b) })
	t.Run("two", func(t *testing.T) { testTwo(t, b) })
	t.Run("hostile", func(t *testing.T) { testHostile(t, b) })
	t.Run("live", func(t *testing.T) { testLive(t, b) })
	b.wantQuiet(t, "http://127.0.0.1:")
}

// night is a run as large as StageX, with one failure and one MISMATCH.
var night = reporttest.Options{Outputs: 513, Failing: 400, Differing: 123, Jobs: 6}

// testUse searches, clicks, filters and follows a path.
func testUse(t *testing.T, b *browser) {
	url, size := write(t, night)
	if size > 1_500_000 {
		t.Errorf("the page has %d bytes", size)
	}
	p := b.open(t, url)
	p.size(1400, 1000, "light")
	failing, differing := reporttest.Ref(night, night.Failing), reporttest.Ref(night, night.Differing)
	wantText(t, p.text("#answers"), "First failure", failing, "MISMATCH", differing, "Slowest")
	wantText(t, p.text("#failures"), failing, "packages/x/Containerfile:7", "main.c:12:3: error")
	wantText(t, p.text("#verdicts table tbody tr"), differing, "MISMATCH", "no definition changed since", "sha256:")
	p.shoot("light", false)

	p.click("#search")
	p.fill("pkg400")
	wantText(t, p.text("#found"), "1 output")
	p.click("#outputs .link")
	wantText(t, p.text("#panel"), failing, "failed", "main.c:12:3: error")
	wantText(t, p.text("#relations"), "depends on")
	p.eval(`document.getElementById("search").value = ""; document.getElementById("bystate").value = "MISMATCH"; document.getElementById("bystate").dispatchEvent(new Event("input"))`)
	wantText(t, p.text("#found"), "1 output")
	wantText(t, p.text("#outputs"), differing)

	p.click("#timeline .bar")
	if got := p.eval(`document.querySelectorAll("#timeline .bar.selected").length`); got != 1.0 {
		t.Errorf("%v bars are selected", got)
	}
	p.shoot("timeline", false)
	p.click("#graphbox .node[data-index='200']")
	wantText(t, p.text("#panel"), reporttest.Ref(night, 201))
	p.shoot("graph", false)
	p.click("#from")
	p.fill(reporttest.Ref(night, 1))
	p.click("#to")
	p.fill(reporttest.Ref(night, 300))
	p.click("#pathform button")
	wantText(t, p.text("#pathsaid"), reporttest.Ref(night, 300)+" depends on "+reporttest.Ref(night, 1), "←")
	p.eval(`document.getElementById("colours").value = "time"; document.getElementById("colours").dispatchEvent(new Event("change"))`)
	wantText(t, p.text("#legend"), "not built")
}

// testKeyboard uses no mouse.
func testKeyboard(t *testing.T, b *browser) {
	url, _ := write(t, reporttest.Options{Outputs: 16, Failing: 5})
	p := b.open(t, url)
	p.size(1200, 900, "light")
	p.press("Tab")
	wantText(t, fmt.Sprint(p.eval("document.activeElement.textContent")), "Skip to the report")
	p.press("/")
	if got := p.eval("document.activeElement.id"); got != "search" {
		t.Fatalf("/ leads to %v", got)
	}
	p.press("p", "k", "g", "5")
	wantText(t, p.text("#found"), "1 output")
	for range 10 {
		if p.eval(`document.activeElement.matches("#outputs .link")`) == true {
			break
		}
		p.press("Tab")
	}
	p.press("Enter")
	wantText(t, p.text("#panel"), "core-pkg5", "failed", "Reason")
	if got := p.eval("document.activeElement.id"); got != "chosen" {
		t.Errorf("the focus is on %v, not on the details", got)
	}
	p.press("Escape")
	if got := p.eval(`document.activeElement.matches("#outputs .link") && !document.body.classList.contains("chosen")`); got != true {
		t.Error("Escape does not lead back to the table")
	}
	p.press("Tab") // every stop of Tab has a visible outline
	if got := p.eval(`getComputedStyle(document.activeElement).outlineStyle`); got != "solid" && got != "auto" {
		t.Errorf("the focus has the outline %v", got)
	}
}

// testNarrow reads the page on a telephone, at night: nothing is wider than the screen.
func testNarrow(t *testing.T, b *browser) {
	url, _ := write(t, reporttest.Options{Outputs: 16, Failing: 5, Differing: 9})
	p := b.open(t, url)
	light := p.eval("getComputedStyle(document.body).backgroundColor")
	p.size(360, 740, "dark")
	p.wait("innerWidth === 360 && document.querySelector('#timeline svg').clientWidth <= 360")
	if dark := p.eval("getComputedStyle(document.body).backgroundColor"); dark == light {
		t.Errorf("dark is %v, as light", dark)
	}
	if got := p.eval("document.documentElement.scrollWidth"); got.(float64) > 360 {
		t.Errorf("the page is %v wide", got)
	}
	p.shoot("narrow", true)
	p.click("#outputs .link")
	wantText(t, p.text("#panel"), "pkg")
	p.shoot("narrow-detail", false)
	p.click("#panel .close")
	if got := p.eval(`getComputedStyle(document.getElementById("panel")).display`); got != "none" {
		t.Error("the details stay")
	}
	p.size(1400, 1000, "dark")
	p.wait("innerWidth === 1400")
	p.eval("scrollTo(0, 0)")
	p.shoot("dark", false)
}

func testInterrupted(t *testing.T, b *browser) {
	url, _ := write(t, reporttest.Options{Outputs: 30, Cut: 20})
	p := b.open(t, url)
	wantText(t, p.text("h1"), "interrupted: sx was killed")
	wantText(t, p.text("#answers"), "nothing was compared", "not run")
}

// testFleet looks for the rows of each of several engines.
func testFleet(t *testing.T, b *browser) {
	url, _ := write(t, reporttest.Options{Outputs: 60, Jobs: 6, Engines: []string{"west", "east"}})
	p := b.open(t, url)
	p.size(1400, 1000, "light")
	wantText(t, p.text("#timeline"), "west", "east")
	if n := p.eval(`document.querySelectorAll("#timeline .between").length`); n != 1.0 {
		t.Errorf("%v lines are between the rows of two engines", n)
	}
	p.wait(`document.querySelector("#timeline svg").clientWidth > 900`) // drawn again for the wide window
	p.eval(`document.getElementById("h-timeline").scrollIntoView()`)
	p.shoot("fleet", false)
}

// testLive follows a run while it is kept, over a connection that breaks.
func testLive(t *testing.T, b *browser) {
	state := t.TempDir()
	if err := os.Mkdir(filepath.Join(state, "runs"), 0o700); err != nil {
		t.Fatal(err)
	}
	server, err := live.Listen("127.0.0.1:0", func(context.Context) ([]byte, error) {
		id, err := runs.Find(state, "last")
		if err != nil {
			return report.Data(true)
		}
		kept, err := runs.Read(state, id)
		if err != nil {
			return nil, err
		}
		return report.Data(true, report.Of(kept, time.Now()))
	}, func() (string, error) { return runs.Newest(state) })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go server.Serve(ctx)
	p := b.open(t, server.URL())
	p.wait(`document.getElementById("live").textContent === "live: no run yet"`)
	stream := reporttest.Stream(reporttest.Options{Outputs: 16, Failing: 5})
	recorder := runs.NewRecorder(stream.ID, func() (string, error) { return filepath.Join(state, "runs"), nil })
	half := len(stream.Events) / 2
	for _, e := range stream.Events[:half] {
		recorder.Observe(e)
	}
	p.wait(`document.getElementById("state").textContent === "running" && document.querySelectorAll("#outputs tbody tr").length === 16`)
	p.click("#search")
	p.fill("pkg5")
	p.do("Network.emulateNetworkConditions", map[string]any{"offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
	p.wait(`document.getElementById("live").textContent.startsWith("not connected")`)
	for _, e := range stream.Events[half:] {
		recorder.Observe(e)
	}
	p.do("Network.emulateNetworkConditions", map[string]any{"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
	p.wait(`document.getElementById("state").textContent === "ended with exit code 1"`)
	if got := p.eval(`document.getElementById("search").value + document.querySelectorAll("#outputs tbody tr").length`); got != "pkg51" {
		t.Errorf("what was typed, and how many it finds, is %v", got)
	}
	wantText(t, p.text("#failures"), "main.c:12:3: error")
	b.mu.Lock()
	b.errors = slices.DeleteFunc(b.errors, func(e string) bool { return strings.Contains(e, "ERR_INTERNET_DISCONNECTED") })
	b.mu.Unlock()
}

// testLarge wants answers at once of ten times StageX.
func testLarge(t *testing.T, b *browser) {
	o := reporttest.Options{Outputs: 5000, Failing: 4900, Jobs: 16}
	url, size := write(t, o)
	began := time.Now()
	p := b.open(t, url)
	opened := time.Since(began)
	p.eval(`new Promise((r) => requestAnimationFrame(() => setTimeout(r)))`) // it is painted
	if cpu := p.cpu(); cpu <= 0 || cpu > time.Second {
		t.Errorf("opening takes %s of processor time", cpu)
	} else {
		t.Logf("opening takes %s of processor time", cpu)
	}
	took, _ := p.eval(`(() => { const s = document.getElementById("search"), began = performance.now();
		for (const text of ["p", "pkg49", "user pkg", "nothing"]) { s.value = text; s.dispatchEvent(new Event("input")); document.body.offsetHeight; }
		s.value = "pkg4999"; s.dispatchEvent(new Event("input")); document.body.offsetHeight;
		return (performance.now() - began) / 5; })()`).(float64)
	t.Logf("5,000 outputs: %d bytes, opened in %s, a search takes %.0f ms", size, opened, took)
	wantText(t, p.text("#found"), "1 output")
	if took > 1000 { // 100 ms on a quiet machine
		t.Errorf("a search takes %.0f ms", took)
	}
	if n := p.eval(`document.querySelectorAll("#graphbox .node").length`); n != 0.0 {
		t.Errorf("%v nodes are drawn before the graph is in view", n)
	}
	if n := p.eval(`document.querySelectorAll("#timeline .bar").length`); n != 0.0 {
		t.Errorf("%v bars are drawn before the timeline is in view", n)
	}
	room := p.eval(`document.getElementById("timeline").clientHeight`)
	p.eval(`document.getElementById("timeline").scrollIntoView()`)
	p.wait(`document.querySelectorAll("#timeline .bar").length > 4000`)
	if got := p.eval(`document.getElementById("timeline").clientHeight`); got != room {
		t.Errorf("the timeline is %v high, its room was %v", got, room)
	}
	p.eval(`document.getElementById("graphbox").scrollIntoView()`)
	p.wait(`document.querySelectorAll("#graphbox .node").length === 5000`)
	p.click("#from")
	if n := p.eval(`document.querySelectorAll("#names option").length`); n != 5000.0 {
		t.Errorf("%v names are suggested", n)
	}
}

// testPrint wants on paper what is folded, out of view or on a later page on the screen, and
// the screen afterwards as it was.
func testPrint(t *testing.T, b *browser) {
	url, _ := write(t, reporttest.Options{Outputs: 1200, Failing: 700})
	p := b.open(t, url)
	const count = `[document.querySelectorAll("#outputs tbody tr").length, document.querySelectorAll("#graphbox .node").length,
		document.querySelectorAll("#timeline .bar").length > 500, document.querySelectorAll("details:not([open])").length].join()`
	before := p.eval(count)
	p.eval(`window.dispatchEvent(new Event("beforeprint"))`) // making a PDF of it takes a minute
	if got := p.eval(count); got != "1200,1200,true,0" {
		t.Errorf("printed are %v; on the screen %v", got, before)
	}
	p.eval(`window.dispatchEvent(new Event("afterprint"))`)
	if got := p.eval(`[document.querySelectorAll("#outputs tbody tr").length, document.querySelectorAll("details:not([open])").length > 0].join()`); got != "50,true" {
		t.Errorf("afterwards: %v", got)
	}
}

func testTwo(t *testing.T, b *browser) {
	url, _ := write(t, reporttest.Options{Outputs: 16}, reporttest.Options{Outputs: 18, Seed: 5, Failing: 18})
	p := b.open(t, url)
	wantText(t, p.text("#compare"), "The two runs", "slower", "other digest", "new")
	p.eval(`document.getElementById("differs").value = "new"; document.getElementById("differs").dispatchEvent(new Event("change"))`)
	if got := p.eval(`document.querySelectorAll("#compare section:last-child tbody tr").length`); got.(float64) < 1 {
		t.Errorf("%v rows are new", got)
	}
	p.shoot("two", false)
}

// hostile are texts that would do something if they were markup, in a script, an
// attribute, SVG or a style.
const hostile = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1><svg onload=window.hit=1>\"' onmouseover=window.hit=1 x=\"" +
	"]]>--><!--<style>*{display:none}</style>javascript:window.hit=1 \u2028\u2029\u202e{{.Data}}${window.hit=1}"

// testHostile shows names and logs that are markup: they are there as text, and do nothing.
func testHostile(t *testing.T, b *browser) {
	o := reporttest.Options{Outputs: 16, Failing: 5, Differing: 3, Hostile: hostile}
	url, _ := write(t, o)
	p := b.open(t, url)
	wantText(t, p.text("#failures"), "<img src=x onerror=window.hit=1>")
	wantText(t, p.text("#verdicts"), "</script><script>")
	p.click("#failures .link")
	wantText(t, p.text("#panel"), "<svg onload=window.hit=1>")
	if got := p.eval("window.hit === undefined && document.images.length === 0 && document.scripts.length === 2 && document.querySelectorAll('style').length === 1"); got != true {
		t.Error("a text of the tree became markup")
	}
	if got := p.eval(`[...document.querySelectorAll("*")].some((e) => [...e.attributes].some((a) => a.name.startsWith("on") || a.name === "href" && !a.value.startsWith("#") || a.name === "style" || a.name === "src"))`); got != false {
		t.Error("an element has an attribute that holds code or an address")
	}
}

// testAccess lets axe-core look for what keeps people from reading the page. scripts/test
// gets the version of SX_TEST_AXE.
func testAccess(t *testing.T, b *browser) {
	path := os.Getenv("SX_TEST_AXE")
	if path == "" {
		t.Skip("SX_TEST_AXE names no axe.min.js; scripts/test gets one")
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	one, two := []reporttest.Options{{Outputs: 16, Failing: 5, Differing: 3}}, []reporttest.Options{{Outputs: 16}, {Outputs: 18, Seed: 5, Failing: 18}}
	for _, c := range []struct {
		runs          []reporttest.Options
		scheme, rules string
	}{{one, "light", ""}, {one, "dark", `, runOnly: ["color-contrast"]`}, {two, "light", ""}} {
		url, _ := write(t, c.runs...)
		p := b.open(t, url)
		p.size(1300, 900, c.scheme)
		if len(c.runs) == 1 {
			p.click("#failures .link")
		}
		p.eval(string(axe) + ";1")
		found := p.eval(`axe.run(document, {resultTypes: ["violations"]` + c.rules + `}).then((r) => r.violations.map((v) => v.impact + ": " + v.id + ": " + v.help + ": " +
			v.nodes.slice(0, 4).map((n) => n.html + " " + n.failureSummary).join(" | ")))`)
		for _, violation := range found.([]any) {
			t.Errorf("%d runs, %s: %.1500s", len(c.runs), c.scheme, violation)
		}
	}
}
