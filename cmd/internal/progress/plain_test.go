package progress_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/fetch"
)

func TestHeartbeatComesEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		d := open(t, &out, progress.Options{Mode: progress.Plain})
		pass(5*time.Minute + 300*time.Millisecond)
		want(t, out.take(), "") // nothing runs
		d.Begin(planOf(55))
		gcc, llvm := step("gcc", "not built yet"), step("llvm", "not built yet")
		d.Start(gcc)
		d.Progress(gcc, "[5/9] RUN make -j 8 &&\n make install DESTDIR=/rootfs prefix=/usr")
		began := time.Now()
		pass(10 * time.Second)
		d.Start(llvm)
		out.take()
		for n := 1; n <= 5; n++ {
			if pass(time.Until(began.Add(time.Duration(n) * time.Minute))); out.take() == "" {
				t.Fatalf("no heartbeat in minute %d", n)
			}
		}
		d.Finish(llvm, end(llvm, plan.Failed, time.Minute))
		d.Finish(gcc, end(gcc, plan.Built, time.Minute))
		d.Start(gcc)
		out.take()
		pass(55 * time.Second)
		want(t, out.take(), "still building: core-gcc 55s, 1/55 done, 1 failed\n")
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		d := open(t, &out, progress.Options{Mode: progress.Plain})
		d.Sources().Begin(700)
		out.take()
		pass(59500 * time.Millisecond)
		want(t, out.take(), "still fetching: sources 0/700\n")
		d.Begin(planOf(55))
		for _, name := range strings.Fields("a b c d e f g h i j") {
			s := step(name, "")
			d.Start(s)
			d.Progress(s, "RUN a\nb "+strings.Repeat("long", 20))
		}
		out.take()
		pass(time.Minute)
		got := out.take()
		for _, part := range []string{
			"still building: core-a 59s (RUN a\\nb longlong", "longlo…), core-b", "core-h 59s", ", and 2 more, sources 0/700, 0/55 done\n",
		} {
			if !strings.Contains(got, part) {
				t.Errorf("heartbeat %q lacks %q", got, part)
			}
		}
	})
}

func TestStalledDownloadIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		d := open(t, &out, progress.Options{Mode: progress.Plain})
		f, src := d.Sources(), source("gcc")
		f.Begin(1)
		f.Start(src, "https://one.example/", 3*mib, 8*mib)
		pass(500 * time.Millisecond)
		f.Advance(src, 4*mib, 8*mib)
		pass(20 * time.Second)
		want(t, out.take(), "checking 1 source\n"+
			"core/gcc: gcc: resuming at 3MiB of 8MiB from https://one.example/\n"+
			"core/gcc: gcc: 4MiB of 8MiB (50%), 102.4KiB/s, 40s left\n"+
			"core/gcc: gcc: 4MiB of 8MiB (50%), 0B/s\n")
	})
}

func TestEachValueStaysInItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		d := open(t, &out, progress.Options{Mode: progress.Plain})
		f, src := d.Sources(), fetch.Source{Name: "core/a: a\nb"}
		f.Start(src, "https://one.example/\nx", 0, -1)
		s := step("a\nb", "it\nchanged")
		d.Start(s)
		r := end(s, plan.Failed, 0)
		r.Err = errors.New("two\nlines\n") // which the table at the end says
		d.Finish(s, r)
		d.Warn("two\nlines\n")
		want(t, out.take(), ""+
			"core/a: a\\nb: downloading from https://one.example/\\nx\n"+
			"core-a\\nb: building: it\\nchanged\n"+
			"core-a\\nb: failed after 0s\n"+
			"warning: two\n"+
			"  | lines\n")
	})
}
