package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	ttyPeriod = 100 * time.Millisecond

	cursorUp   = "\x1b[%dA"
	clearLine  = "\x1b[K" // from the cursor on
	clearBelow = "\x1b[J"
)

// tty keeps live lines at the end of the output, the cursor below them. What
// stays is written in their place and pushes them down. Each paint is one Write,
// and they come with the ticks: events only wait.
type tty struct {
	printer
	state   *state
	size    func() (width, height int, ok bool)
	pending []line   // to stay
	painted []string // the live lines on the screen, without colours
}

var _ view = (*tty)(nil)

func (v *tty) period() time.Duration { return ttyPeriod }
func (v *tty) tick(now time.Time)    { v.refresh(now) }
func (v *tty) close()                { v.paintFrame(nil, v.width()) }

func (v *tty) show(e event) {
	v.pending = append(v.pending, words(e)...)
	if !v.state.busy() { // nothing may tick any more
		v.refresh(e.Time)
	}
}

func (v *tty) refresh(now time.Time) {
	width, height, ok := v.size()
	if !ok || width < 2 || height < 2 {
		width, height = 80, 24
	}
	v.paintFrame(frame(v.state, now, width, height), width)
}

func (v *tty) width() int {
	width, _, _ := v.size()
	return max(width, 2)
}

// paintFrame replaces the live lines. They are overwritten in place rather than
// cleared first, which would flicker; only lines that stay are longer than the
// terminal is wide and need a clean ground.
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
	if up := rows(v.painted, width); up > 0 {
		fmt.Fprintf(&b, cursorUp, up)
	}
	if len(v.pending) > 0 {
		b.WriteString(clearBelow)
	}
	for _, l := range v.pending {
		b.WriteString(v.paint(l.text, l.colour) + "\n")
	}
	for _, l := range live {
		b.WriteString(v.paint(l.text, l.colour) + clearLine + "\n")
	}
	b.WriteString(clearBelow)
	v.pending, v.painted = nil, texts
	io.WriteString(v.w, b.String())
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
