package progress_test

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/progress"
)

// A meter shows what is read, and nothing between the files: a line may be half printed.
func TestReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := newScreen(t, 90, 10), new(output)
		var r progress.Readings
		m := progress.NewMeter(out, progress.Options{Getenv: env(), Mode: progress.TTY, Size: s.size}, r.Text)
		b := r.Begin("B", 40*mib)
		a := r.Watch("A \x1b[2J", 10*mib, func() int64 { return 5 * mib })
		b.Add(10 * mib)
		see := func(after time.Duration, text string) {
			t.Helper()
			pass(after)
			s.write(out.take())
			want(t, s.text(), text)
		}
		see(2100*time.Millisecond, "A \\x1b[2J: 50% of 10MiB, 2.5MiB/s, 2s left; B: 25% of 40MiB, 5MiB/s, 6s left\n")
		a.End()
		b.Add(30 * mib)
		see(200*time.Millisecond, "B: 100% of 40MiB, 18.18MiB/s\n")
		b.End()
		b.End()
		see(200*time.Millisecond, "")
		fmt.Fprint(out, "half a ")
		see(10*time.Second, "half a\n")
		io.WriteString(out, "line\n")
		m.Close()
		see(time.Second, "half a line\n")
	})
}

// A terminal that does not know its size keeps what was printed before.
func TestTTYWithoutSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := newScreen(t, 80, 10), new(output)
		s.write("printed before\n")
		d := open(t, out, progress.Options{Mode: progress.TTY, Size: func() (int, int, bool) { return 0, 0, true }})
		d.Begin(planOf(2))
		d.Start(step("a-name-that-is-rather-long", ""))
		pass(2 * time.Second)
		d.Close()
		s.write(out.take())
		want(t, s.text(), "printed before\n\n\n")
	})
}
