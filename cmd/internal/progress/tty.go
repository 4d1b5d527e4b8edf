package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/plan"
)

const (
	ttyPeriod = 100 * time.Millisecond

	cursorUp   = "\x1b[%dA"
	clearLine  = "\x1b[2K"
	clearRest  = "\x1b[K" // of the line, from the cursor on
	clearBelow = "\x1b[J"
)

// tty keeps live lines at the end of the output, the cursor below them. What
// stays is written in their place and pushes them down. Each paint is one Write,
// and they come with the ticks: events only wait. Neither the cursor nor any mode
// of the terminal is changed, so a killed sx leaves nothing to repair.
type tty struct {
	printer
	state      *state
	size       func() (width, height int, ok bool)
	foreground func() bool
	idle       func() bool    // the terminal has taken everything that was painted
	pending    []line         // to stay
	skips      []events.Event // since the last paint

	painted   []string // the live lines on the screen, without colours
	paintedAt int      // at this width
}

var _ view = (*tty)(nil)

func (v *tty) period() time.Duration { return ttyPeriod }
func (v *tty) tick(now time.Time)    { v.refresh(now) }

func (v *tty) close() {
	v.tellSkips()
	if !v.foreground() {
		v.forget()
	}
	v.paintFrame(nil, v.width())
}

func (v *tty) show(e events.Event) {
	if e.Event == events.BuildFinish && plan.Outcome(e.Outcome) == plan.Skipped {
		v.skips = append(v.skips, e)
	} else {
		v.tellSkips()
		v.pending = append(v.pending, words(e)...)
	}
	if !v.state.busy() { // nothing may tick any more
		v.refresh(e.Time)
	}
}

// tellSkips puts what a failure skips into one line: it may be half the tree.
func (v *tty) tellSkips() {
	for len(v.skips) > 0 {
		first, n := v.skips[0], 1
		for n < len(v.skips) && v.skips[n].Cause == first.Cause {
			n++
		}
		if v.skips = v.skips[n:]; n > 1 {
			first.Ref = count(n, "output")
		}
		v.pending = append(v.pending, words(first)...)
	}
}

// refresh paints, unless the terminal still takes in the last paint: frames that
// wait in line would show the past.
func (v *tty) refresh(now time.Time) {
	if !v.idle() {
		return
	}
	v.tellSkips()
	if !v.foreground() {
		v.forget()
		v.paintFrame(nil, v.width())
		return
	}
	width, height := v.measure()
	v.paintFrame(frame(v.state, now, width, height), width)
}

// measure is size, with a guess where that is not known, as on a serial line.
func (v *tty) measure() (width, height int) {
	width, height, ok := v.size()
	if !ok || width == 0 || height == 0 {
		return 80, 24
	}
	return width, height
}

func (v *tty) width() int {
	width, _ := v.measure()
	return max(width, 2)
}

// forget leaves the live lines to the program that wrote below them.
func (v *tty) forget() { v.painted = nil }

// paintFrame replaces the live lines. Where nothing but them changes they are
// overwritten in place: wiping them first would flicker.
func (v *tty) paintFrame(live []line, width int) {
	v.pending = slices.DeleteFunc(v.pending, func(l line) bool { return l.weight < change })
	texts := make([]string, len(live))
	for i, l := range live {
		texts[i] = l.text
	}
	if len(v.pending) == 0 && slices.Equal(texts, v.painted) {
		return
	}
	var b strings.Builder
	b.WriteString("\r")
	wipe := len(v.pending) > 0 || len(live) == 0 || width != v.paintedAt
	leave(&b, rows(v.painted, width), wipe)
	for _, l := range v.pending {
		b.WriteString(v.paint(l.text, l.colour) + "\n")
	}
	for _, l := range live {
		b.WriteString(v.paint(l.text, l.colour) + clearRest + "\n")
	}
	if !wipe {
		b.WriteString(clearBelow)
	}
	v.pending, v.painted, v.paintedAt = nil, texts, width
	io.WriteString(v.w, b.String())
}

// leave moves the cursor up so many rows. To wipe is to clear each of them by
// itself, which clearBelow would not do as well: from the top of the screen tmux
// takes it for a screen to keep, and rows that were wrapped stay joined.
func leave(b *strings.Builder, rows int, wipe bool) {
	switch {
	case wipe:
		b.WriteString(strings.Repeat(fmt.Sprintf(cursorUp, 1)+clearLine, rows))
	case rows > 0:
		fmt.Fprintf(b, cursorUp, rows)
	}
}

// rows is how many rows the lines take now: a terminal that became narrower
// has wrapped them.
func rows(painted []string, width int) int {
	n := 0
	for _, s := range painted {
		n += max((columns(s)+width-1)/width, 1)
	}
	return n
}
