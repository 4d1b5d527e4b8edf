package page_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium, driven over a pipe by the DevTools protocol.
//
// Source: chromedevtools.github.io/devtools-protocol
type browser struct {
	in  *os.File
	ids int

	mu       sync.Mutex
	answers  map[int]chan message
	requests []string // URLs that pages asked for
	errors   []string // that pages reported, violations of their policy among them
}

type message struct {
	ID        int             `json:"id"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// answerTime bounds how long Chromium may take for one answer.
const answerTime = time.Minute

// startBrowser starts Chromium, which ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		if os.Getenv("SX_TEST_NO_BROWSER") != "" {
			t.Skip("SX_TEST_NO_BROWSER")
		}
		t.Fatal("no chromium (Debian: apt-get install chromium; SX_TEST_NO_BROWSER=1 leaves these tests out)")
	}
	read, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking",
		"--disable-component-update", "--disable-extensions", "--hide-scrollbars", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{read, write}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read.Close()
	write.Close()
	b := &browser{in: in, answers: map[int]chan message{}}
	ended := make(chan struct{})
	go func() { defer close(ended); b.listen(out) }()
	t.Cleanup(func() {
		in.Close() // Chromium ends when its pipe does
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
		}
		cmd.Wait()
		out.Close()
	})
	return b
}

// listen reads what Chromium says.
func (b *browser) listen(out *os.File) {
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.answers[m.ID]; m.ID != 0 && c != nil {
			delete(b.answers, m.ID)
			c <- m
		}
		b.note(m)
		b.mu.Unlock()
	}
}

// note keeps requests and errors.
func (b *browser) note(m message) {
	switch m.Method {
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		json.Unmarshal(m.Params, &p)
		b.requests = append(b.requests, p.Request.URL)
	case "Runtime.exceptionThrown", "Log.entryAdded":
		b.errors = append(b.errors, string(m.Params))
	}
}

func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	b.mu.Lock()
	b.ids++
	id, c := b.ids, make(chan message, 1)
	b.answers[id] = c
	b.mu.Unlock()
	encoded, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(message{ID: id, SessionID: session, Method: method, Params: encoded})
	if err != nil {
		return nil, err
	}
	if _, err := b.in.Write(append(line, 0)); err != nil {
		return nil, err
	}
	select {
	case m := <-c:
		if m.Error != nil {
			return nil, errors.New(method + ": " + m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(answerTime):
		return nil, fmt.Errorf("%s: no answer in %s", method, answerTime)
	}
}

// tab is a page in the browser.
type tab struct {
	*browser
	t       *testing.T
	session string
}

// open opens a URL and waits until the page says that it is ready.
func (b *browser) open(t *testing.T, url string) *tab {
	t.Helper()
	p := b.attach(t)
	p.do("Performance.enable", map[string]any{"timeDomain": "threadTicks"})
	p.do("Page.navigate", map[string]any{"url": url})
	p.wait(`document.body && document.body.dataset.ready === "yes"`)
	return p
}

// attach returns an empty page.
func (b *browser) attach(t *testing.T) *tab {
	t.Helper()
	p := &tab{browser: b, t: t}
	var target struct{ TargetID string }
	p.into(&target, "Target.createTarget", map[string]any{"url": "about:blank"})
	var attached struct{ SessionID string }
	p.into(&attached, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true})
	p.session = attached.SessionID
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		p.do(domain+".enable", nil)
	}
	t.Cleanup(func() { b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}) })
	return p
}

func (p *tab) into(result any, method string, params any) {
	p.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	raw, err := p.call(p.session, method, params)
	if err == nil && result != nil {
		err = json.Unmarshal(raw, result)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) do(method string, params any) { p.t.Helper(); p.into(nil, method, params) }

// eval returns the value of a JavaScript expression, a promise's too.
func (p *tab) eval(expression string) any {
	p.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	p.into(&r, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%.300s: %.2000s", expression, r.ExceptionDetails)
	}
	return r.Result.Value
}

// cpu returns the processor time that the page has taken on its main thread.
func (p *tab) cpu() (all time.Duration) {
	p.t.Helper()
	var m struct {
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	p.into(&m, "Performance.getMetrics", nil)
	for _, metric := range m.Metrics {
		if metric.Name == "TaskDuration" {
			all = time.Duration(metric.Value * float64(time.Second))
		}
	}
	return all
}

// wait waits until an expression is true.
func (p *tab) wait(expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(answerTime); p.eval(expression) != true; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not true after %s", expression, answerTime)
		}
	}
}

// text returns the visible text of the first element that a selector finds.
func (p *tab) text(selector string) string {
	p.t.Helper()
	said, _ := p.eval(fmt.Sprintf("(document.querySelector(%q) || {}).innerText || ''", selector)).(string)
	return said
}

// click presses the mouse in the middle of an element.
func (p *tab) click(selector string) {
	p.t.Helper()
	at, _ := p.eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); if (!e) return null; e.scrollIntoView({block: "center", inline: "center"});
		const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`, selector)).([]any)
	if at == nil {
		p.t.Fatalf("there is no %s", selector)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1})
	}
}

// keys maps names of keys to what the protocol wants.
var keys = map[string]map[string]any{
	"Tab":    {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
	"Enter":  {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
	"Escape": {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27},
}

// press presses a key by name, or types a character.
func (p *tab) press(names ...string) {
	p.t.Helper()
	for _, name := range names {
		event := map[string]any{"key": name, "text": name}
		for k, v := range keys[name] {
			event[k] = v
		}
		if name != "Enter" && keys[name] != nil {
			delete(event, "text")
		}
		event["type"] = "keyDown"
		p.do("Input.dispatchKeyEvent", event)
		event["type"] = "keyUp"
		delete(event, "text")
		p.do("Input.dispatchKeyEvent", event)
	}
}

// fill types a text into the focused field.
func (p *tab) fill(text string) {
	p.t.Helper()
	p.do("Input.insertText", map[string]any{"text": text})
}

// size makes the window so large, and dark or light.
func (p *tab) size(width, height int, scheme string) {
	p.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// shoot writes a picture of the page to a folder, if SX_TEST_SCREENSHOTS names one.
func (p *tab) shoot(name string, whole bool) {
	p.t.Helper()
	dir := os.Getenv("SX_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	p.into(&shot, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole})
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		data, err = smaller(data)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// smaller returns a picture with its 64 most frequent colours, which is a third in size.
func smaller(data []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	seen := map[color.Color]int{}
	for y := range from.Bounds().Dy() {
		for x := range from.Bounds().Dx() {
			seen[from.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(seen), func(a, b color.Color) int { return seen[b] - seen[a] })
	to := image.NewPaletted(from.Bounds(), colors[:min(len(colors), 64)])
	draw.Draw(to, to.Bounds(), from, image.Point{}, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to)
	return out.Bytes(), err
}

// wantQuiet checks that no page asked for anything but itself, and none reported an error.
func (b *browser) wantQuiet(t *testing.T, but ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, url := range b.requests {
		for _, prefix := range append(but, "file://", "about:") {
			if strings.HasPrefix(url, prefix) {
				continue next
			}
		}
		t.Errorf("a page asked for %s", url)
	}
	for _, e := range b.errors {
		t.Errorf("a page reported %.1000s", e)
	}
}
