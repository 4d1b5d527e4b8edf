package progress_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/fetch"
)

// terminal is a Display on a screen, in a synctest bubble.
type terminal struct {
	*progress.Display
	*screen
	out *output
}

func onTerminal(t *testing.T, width, height int, play func(t *testing.T, d *terminal)) {
	synctest.Test(t, func(t *testing.T) {
		d := &terminal{screen: newScreen(t, width, height), out: new(output)}
		d.Display = open(t, d.out, progress.Options{Mode: progress.TTY, Size: d.size})
		pass(50 * time.Millisecond) // never at the very time of a tick
		play(t, d)
	})
}

// see is the screen's text after so long.
func (d *terminal) see(after time.Duration) string {
	pass(after)
	d.write(d.out.take())
	return d.text()
}

func TestTTYDownloads(t *testing.T) {
	onTerminal(t, 72, 20, func(t *testing.T, d *terminal) {
		f, gcc, zlib := d.Sources(), source("gcc"), source("zlib")
		f.Begin(4)
		f.Done(source("musl"), fetch.Present)
		want(t, d.see(1100*time.Millisecond), "sources 1/4 | 1s\n")
		f.Start(gcc, "https://one.example/", 0, 40*mib)
		f.Start(zlib, "https://one.example/", 0, -1)
		pass(2 * time.Second)
		f.Advance(gcc, 10*mib, 40*mib)
		f.Advance(zlib, mib, -1)
		want(t, d.see(100*time.Millisecond), ""+
			"core/gcc: gcc        10MiB / 40MiB      25%   4.878MiB/s  6s left\n"+
			"core/zlib: zlib       1MiB / ?            ?   499.5KiB/s\n"+
			"sources 1/4, 3.492MiB/s | 3s\n")
		f.Fail(gcc, "https://one.example/", errors.New("no progress for 30s"))
		f.Done(zlib, fetch.Fetched)
		f.Done(source("bash"), fetch.Linked)
		want(t, d.see(100*time.Millisecond), ""+
			"core/gcc: gcc: gave up https://one.example/: no progress for 30s\n"+
			"core/zlib: zlib: fetched 1MiB in 2.1s (487.6KiB/s)\n"+
			"core/bash: bash: linked\n"+
			"core/gcc: gcc      10MiB / 40MiB      25%   4.651MiB/s  6s left\n"+
			"sources 3/4, 3.385MiB/s | 3s\n")
		f.Fail(gcc, "", errors.New("no mirrors left"))
		f.End()
		want(t, d.see(0), ""+ // End does not wait for a tick
			"core/gcc: gcc: gave up https://one.example/: no progress for 30s\n"+
			"core/zlib: zlib: fetched 1MiB in 2.1s (487.6KiB/s)\n"+
			"core/bash: bash: linked\n"+
			"core/gcc: gcc: failed\n"+
			"4 sources: 1 present, 1 fetched (11MiB), 1 linked, 1 failed\n")
	})
}

// A terminal shows the counts even if there was nothing to download.
func TestTTYNothingToFetch(t *testing.T) {
	onTerminal(t, 72, 20, func(t *testing.T, d *terminal) {
		f := d.Sources()
		f.Begin(1)
		f.Done(source("musl"), fetch.Present)
		f.End()
		want(t, d.see(0), "1 source: 1 present\n")
	})
}

func TestTTYBuilds(t *testing.T) {
	log := logOf(t, 2)
	onTerminal(t, 60, 20, func(t *testing.T, d *terminal) {
		gcc, libc := step("gcc", "not built yet"), step("libc", "not built yet")
		d.Begin(planOf(5))
		d.Start(gcc)
		d.Start(libc)
		d.Progress(gcc, "[2/9] RUN <<EOF\nmake\x1b[2J -j 8 && make install DESTDIR=/rootfs")
		want(t, d.see(1100*time.Millisecond), ""+
			"core-gcc       1s  [2/9] RUN <<EOF\\nmake\\x1b[2J -j 8 && ma…\n"+
			"core-libc      1s\n"+
			"0/5 done | 1s\n")
		r := end(gcc, plan.Failed, time.Second)
		r.Err, r.Log = errors.New("exit code: 1"), log
		d.Finish(gcc, r)
		r = end(step("rust", ""), plan.Skipped, 0)
		r.Cause = gcc.Output.Ref
		d.Finish(nil, r)
		stay := "core-gcc: failed after 1s; sx log core-gcc prints its log\n" +
			"core-rust: skipped, because core-gcc failed\n"
		want(t, d.see(1100*time.Millisecond), stay+"core-libc      2s\n0/5 done, 1 failed, 1 skipped | 2s\n")
		d.Finish(libc, end(libc, plan.NotRun, 2*time.Second))
		d.Warn("interrupted")
		d.Close()
		want(t, d.see(time.Minute), stay+"core-libc: not run\nwarning: interrupted\n")
	})
}

func TestTTYLongLinesAtTheVeryWidth(t *testing.T) {
	onTerminal(t, 30, 20, func(t *testing.T, d *terminal) {
		d.Begin(planOf(1))
		d.Warn(strings.Repeat("x", 30-len("warning: ")))
		d.Warn(strings.Repeat("y", 60-len("warning: ")))
		s := step("a-name-that-is-rather-long", "")
		d.Start(s)
		d.Progress(s, "RUN 日本語日本語日本語")
		stay := "warning: xxxxxxxxxxxxxxxxxxxxx\nwarning: yyyyyyyyyyyyyyyyyyyyy\n" + strings.Repeat("y", 30) + "\n"
		want(t, d.see(100*time.Millisecond), stay+"core-a-name-that-is-…      0s\n0/1 done | 0s\n")
		want(t, d.see(1100*time.Millisecond), stay+"core-a-name-that-is-…      1s\n0/1 done | 1s\n")
	})
}

func TestTTYWideCharactersDoNotWrap(t *testing.T) {
	onTerminal(t, 30, 20, func(t *testing.T, d *terminal) {
		d.Begin(planOf(1))
		s := step("a", "")
		d.Start(s)
		d.Progress(s, "RUN 日本語日本語日本語")
		want(t, d.see(1100*time.Millisecond), "core-a      1s  RUN 日本語日…\n0/1 done | 1s\n")
	})
}

func TestTTYResize(t *testing.T) {
	onTerminal(t, 60, 20, func(t *testing.T, d *terminal) {
		d.Begin(planOf(9))
		for _, name := range strings.Fields("a b c") {
			s := step(name, "")
			d.Start(s)
			d.Progress(s, strings.Repeat(name, 50))
		}
		d.Warn("w")
		d.see(100 * time.Millisecond)
		d.resize(25, 20)
		want(t, d.see(time.Second), ""+
			"warning: w\n"+
			"core-a      1s  aaaaaaa…\n"+
			"core-b      1s  bbbbbbb…\n"+
			"core-c      1s  ccccccc…\n"+
			"0/9 done | 1s\n")
		d.resize(70, 20)
		want(t, d.see(time.Second), ""+
			"warning: w\n"+
			"core-a      2s  "+strings.Repeat("a", 50)+"\n"+
			"core-b      2s  "+strings.Repeat("b", 50)+"\n"+
			"core-c      2s  "+strings.Repeat("c", 50)+"\n"+
			"0/9 done | 2s\n")
	})
}

func TestTTYFewRows(t *testing.T) {
	for height, rows := range map[int]string{
		2: "", 3: "core-a      1s\n", 4: "core-a      1s\n… and 3 more\n", 6: "core-a      1s\ncore-b      1s\ncore-c      1s\ncore-d      1s\n",
	} {
		onTerminal(t, 60, height, func(t *testing.T, d *terminal) {
			d.Begin(planOf(9))
			for _, name := range strings.Fields("a b c d") {
				d.Start(step(name, ""))
			}
			pass(time.Second)
			want(t, d.see(100*time.Millisecond), rows+"0/9 done | 1s\n")
		})
	}
}

func TestTTYScrolls(t *testing.T) {
	onTerminal(t, 40, 5, func(t *testing.T, d *terminal) {
		d.Begin(planOf(200))
		var all strings.Builder
		for i := range 200 {
			s := step(fmt.Sprint("s", i), "")
			d.Start(s)
			pass(30 * time.Millisecond)
			d.Finish(s, end(s, plan.Unchanged, 0))
			fmt.Fprintf(&all, "core-s%d: unchanged, its dependencies kept their digests (%d/200)\n", i, i+1)
		}
		got := d.see(100 * time.Millisecond)
		unwrapped := newScreen(t, 200, 5)
		unwrapped.rows, unwrapped.y = d.rows, d.y
		unwrapped.resize(200, 5)
		if want(t, unwrapped.text(), all.String()); t.Failed() {
			t.Log(got)
		}
	})
}

func TestTTYWritesTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes counter
		d := open(t, &writes, progress.Options{Mode: progress.TTY, Size: func() (int, int, bool) { return 80, 24, true }})
		d.Begin(planOf(10000))
		for i := range 3000 {
			s := step(fmt.Sprint("s", i), "")
			d.Start(s)
			d.Finish(s, end(s, plan.Built, 0))
			pass(time.Millisecond)
		}
		if n := writes.Swap(0); n > 30 {
			t.Errorf("%d writes in 3 s, want at most 30", n)
		}
		pass(10 * time.Second)
		if n := writes.Load(); n > 11 {
			t.Errorf("%d writes in 10 s while only the clock changes, want one a second", n)
		}
	})
}

// counter counts writes.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.Add(1)
	return len(p), nil
}
