package progress_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/fetch"
)

// paint is what a hostile tree, server or build would like to show.
const paint = "x\x1b[2J\x1b]0;t\a\r\ncore-rust: MATCH\u009b31m\u202eevil\u200b\U000e0041\x7f\xff ##[error]e ##vso[task.x]y\n::error::z"

var ours = regexp.MustCompile(`\x1b\[[0-9]*[AJKm]`)

func TestNothingIsPainted(t *testing.T) {
	log := filepath.Join(t.TempDir(), "build.log")
	if err := os.WriteFile(log, []byte(paint+"\n"+paint), 0o600); err != nil {
		t.Fatal(err)
	}
	size := func() (int, int, bool) { return 5000, 24, true }
	for _, mode := range []progress.Mode{progress.Plain, progress.TTY, progress.Quiet, progress.RawJSON} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out output
				d := open(t, &out, progress.Options{Mode: mode, Size: size})
				playHostile(d, log)
				d.Close()
				got := out.take()
				wantHarmless(t, got)
				if mode == progress.RawJSON {
					wantFaithful(t, got)
				}
			})
		})
	}
}

func playHostile(d *progress.Display, log string) {
	f, src := d.Sources(), fetch.Source{Name: paint, Path: "fetch/" + paint}
	f.Begin(2)
	f.Start(src, paint, 0, 1<<62)
	f.Advance(src, 1<<62+1, 1<<62)
	pass(11 * time.Second)
	f.Fail(src, paint, errors.New(paint))
	f.Done(src, fetch.Fetched)
	f.Fail(src, "", errors.New(paint))
	f.End()
	d.Begin(planOf(2))
	s := step(paint, paint)
	d.Start(s)
	d.Progress(s, paint)
	pass(2 * time.Minute)
	d.Waiting(paint)
	d.Warn(paint)
	r := end(s, plan.Failed, time.Second)
	r.Err, r.Log = errors.New(paint), log
	d.Finish(s, r)
	r.Outcome, r.Cause, r.Log = plan.Skipped, s.Output.Ref, log+paint
	d.Finish(s, r)
	r.Outcome = plan.Failed
	d.Finish(s, r)
}

func wantHarmless(t *testing.T, got string) {
	t.Helper()
	if !strings.Contains(got, "evil") {
		t.Errorf("nothing shown: %q", got)
	}
	for line := range strings.Lines(got) {
		line = strings.TrimLeft(ours.ReplaceAllString(strings.TrimSuffix(line, "\n"), ""), "\r")
		for _, bad := range []string{"##[", "##vso["} {
			if strings.Contains(line, bad) {
				t.Errorf("%q in %q", bad, line)
			}
		}
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.HasPrefix(line, "core-rust: MATCH") {
			t.Errorf("a line of its own: %q", line)
		}
		if at := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); at >= 0 {
			t.Errorf("%q in %q", line[at:at+1], line)
		}
	}
}

// wantFaithful: to a program, the strings are what was sent.
func wantFaithful(t *testing.T, got string) {
	t.Helper()
	first, _, _ := strings.Cut(got[strings.Index(got, `{"time":"2000-01-01T00:02:11Z","event":"waiting"`):], "\n")
	var e struct{ Text string }
	if err := json.Unmarshal([]byte(first), &e); err != nil {
		t.Fatal(err)
	}
	want(t, e.Text, strings.ToValidUTF8(paint, "\ufffd"))
}

func TestHalvesMayBeCalledConcurrently(t *testing.T) {
	for _, mode := range []progress.Mode{progress.Plain, progress.TTY, progress.RawJSON} {
		d := open(t, new(output), progress.Options{Mode: mode, Size: func() (int, int, bool) { return 80, 24, true }})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { playFast(d.Sources(), i) })
			wg.Go(func() {
				s := step(fmt.Sprint("s", i), "")
				d.Begin(planOf(1))
				d.Start(s)
				d.Progress(s, "RUN x")
				d.Finish(s, end(s, plan.Built, 0))
			})
		}
		wg.Wait()
		d.Close()
		d.Close()
		d.Sources().End()
	}
}

func playFast(f fetch.Status, i int) {
	src := source(fmt.Sprint("s", i))
	f.Begin(1)
	for n := range int64(50) {
		f.Start(src, "https://one.example/", n, 100)
		f.Advance(src, n+1, 100)
	}
	f.Done(src, fetch.Fetched)
	f.End()
}
