package progress_test

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/progress"
)

// TestMeter: a line appears after a second, changes, gives way to what stays, and is gone
// at the end.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := newScreen(t, 30, 10), new(output)
		began := time.Now()
		m := progress.NewMeter(out, progress.Options{Getenv: env(), Mode: progress.TTY, Size: s.size}, func() string {
			return fmt.Sprintf("working for %d s, on a terminal that is too narrow", int(time.Since(began).Seconds()))
		})
		see := func(after time.Duration, text string) {
			t.Helper()
			pass(after)
			s.write(out.take())
			want(t, s.text(), text)
		}
		see(900*time.Millisecond, "")
		io.WriteString(m.Above(out), "one\n")
		see(200*time.Millisecond, "one\nworking for 1 s, on a termin…\n")
		see(time.Second, "one\nworking for 2 s, on a termin…\n")
		io.WriteString(m.Above(out), "two\n")
		see(0, "one\ntwo\n")
		see(250*time.Millisecond, "one\ntwo\nworking for 2 s, on a termin…\n")
		m.Close()
		see(0, "one\ntwo\n")
		see(time.Second, "one\ntwo\n")
	})
}

// TestMeterWithoutTerminal: nothing is shown in a file, in plain mode, or if the work ends
// within a second.
func TestMeterWithoutTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(t, 30, 10)
		for name, opts := range map[string]progress.Options{
			"file":       {Getenv: env()},
			"plain":      {Getenv: env(), Mode: progress.Plain, Size: s.size},
			"background": {Getenv: env(), Mode: progress.TTY, Size: s.size, Foreground: func() bool { return false }},
		} {
			out := new(output)
			m := progress.NewMeter(out, opts, func() string { return "working" })
			pass(5 * time.Second)
			m.Close()
			want(t, name+out.take(), name)
		}
		out := new(output)
		progress.NewMeter(out, progress.Options{Getenv: env(), Mode: progress.TTY, Size: s.size}, func() string { return "working" }).Close()
		want(t, out.take(), "")
	})
}
