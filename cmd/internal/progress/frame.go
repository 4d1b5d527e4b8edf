package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// frame is the live lines: one for each running build and download as far as
// there is room above the cursor's row, and the totals. Every line is short of
// width, so that no terminal wraps it. There are none where they would not stay:
// nothing can be painted over in a terminal of one row.
func frame(s *state, now time.Time, width, height int) []line {
	if !s.busy() || width < 2 || height < 2 {
		return nil
	}
	width--
	rows := append(buildRows(s, now), downloadRows(s, now)...)
	room := height - 2 // the cursor's row and the totals
	switch {
	case room < 2: // the oldest tells more than how many there are
		rows = rows[:min(room, len(rows))]
	case len(rows) > room:
		rows = append(rows[:room-1], row{name: fmt.Sprintf("… and %d more", len(rows)-room+1)})
	}
	var out []line
	for _, text := range layOut(rows, width) {
		out = append(out, line{text: text})
	}
	return append(out, line{text: totals(s, now, width), colour: bold})
}

// row is a live line in columns.
type row struct {
	name  string
	facts [levels]string // less from one to the next
	tail  string         // gets what room is left
}

// levels is how many ways there are to tell of something, for terminals of
// different widths.
const levels = 3

const (
	gap      = 2  // between columns
	tailLess = 8  // a tail that cannot have so many columns is left out
	tailMore = 24 // a long name makes room for so much of a tail
)

// layout is where the columns of some rows are.
type layout struct{ width, level, names, tails int }

// layOut puts rows into so many columns: names and facts in full as far as they
// fit, the facts of all rows at one level.
func layOut(rows []row, width int) []string {
	l := layout{width: width}
	for _, r := range rows {
		if r.facts[0] != "" {
			l.names = max(l.names, columns(r.name))
		}
	}
	for l.level < levels-1 && min(l.names, width/2)+gap+l.facts(rows, false) > width {
		l.level++
	}
	half, facts := width/2, l.facts(rows, true)
	l.names = min(l.names, max(width-gap-l.facts(rows, false), half))
	if less := min(l.names, max(width-2*gap-facts-tailMore, half)); width-2*gap-facts-less >= tailLess {
		l.names = less
	}
	l.tails = l.names + gap + facts + gap
	var out []string
	for _, r := range rows {
		out = append(out, cut(l.join(r), width))
	}
	return out
}

// facts is the width of the facts, of rows with a tail or of all.
func (l layout) facts(rows []row, tailed bool) int {
	n := 0
	for _, r := range rows {
		if !tailed || r.tail != "" {
			n = max(n, columns(r.facts[l.level]))
		}
	}
	return n
}

func (l layout) join(r row) string {
	if r.facts[l.level] == "" {
		return r.name
	}
	said := pad(cut(r.name, l.names), l.names+gap) + r.facts[l.level]
	if r.tail != "" && l.width-l.tails >= tailLess {
		said = pad(said, l.tails) + r.tail
	}
	return said
}

// pad appends blanks up to so many columns.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-columns(s), 0))
}

func buildRows(s *state, now time.Time) []row {
	const steady = len("59m59s") // so that what follows stays in its place, where there is room
	var rows []row
	elapsed := 0
	groups := s.builds.groups()
	for _, g := range groups {
		elapsed = max(elapsed, len(took(g.began, now)))
	}
	for _, g := range groups {
		at := took(g.began, now)
		full, short := fmt.Sprintf("%*s", max(elapsed, steady), at), fmt.Sprintf("%*s", elapsed, at)
		if g.expected > 0 {
			full += " / " + about(g.expected, g.guessed)
		}
		rows = append(rows, row{text.Field(g.name), [levels]string{full, short, short}, text.Field(g.doing())})
	}
	return rows
}

// took is how long something has run: in whole seconds, as tenths that flicker
// tell nothing.
func took(since, now time.Time) string {
	return text.Duration(now.Sub(since).Truncate(time.Second))
}

// about is a time that is only known so well.
func about(d time.Duration, guessed bool) string {
	said := "~" + roughly(d)
	if guessed {
		said += "?"
	}
	return said
}

// roughly is "40s", "1m20s", "12m" or "3h05m": rounded up, so that nothing takes
// no time.
func roughly(d time.Duration) string {
	step := time.Minute
	switch {
	case d <= time.Minute:
		step = 5 * time.Second
	case d <= 10*time.Minute:
		step = 10 * time.Second
	}
	d = max((d + step - 1).Truncate(step), step)
	hours, minutes, seconds := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case hours > 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes)
	case minutes > 0 && seconds > 0:
		return fmt.Sprintf("%dm%ds", minutes, seconds)
	case minutes > 0:
		return fmt.Sprintf("%dm", minutes)
	}
	return fmt.Sprintf("%ds", seconds)
}

// doing is the instruction, without the platform where there is no choice of it:
// BuildKit writes "[linux/amd64 build 3/9] RUN make".
func (j *job) doing() string {
	if rest, ok := strings.CutPrefix(j.instruction, "["+j.platform+" "); ok && j.platform != "" {
		return "[" + rest
	}
	return j.instruction
}

func downloadRows(s *state, now time.Time) []row {
	var rows []row
	for _, d := range slices.Concat(s.fetch.running(), s.images.running()) {
		e := d.event(now)
		size, share := "?", "?"
		if d.size >= 0 {
			size, share = text.Bytes(d.size), percent(d.done, d.size)
		}
		rate := fmt.Sprintf("%4s  %9s/s", share, text.Bytes(*e.Rate))
		full := fmt.Sprintf("%9s / %-9s %s", text.Bytes(d.done), size, rate)
		if e.Left != nil {
			full += fmt.Sprintf("  %s left", text.Duration(time.Duration(*e.Left)))
		}
		rows = append(rows, row{name: text.Field(d.about.Item()), facts: [levels]string{full, rate, share}})
	}
	return rows
}

// cut shortens escaped text to so many columns, the last one then "…".
func cut(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	used := 0
	for i, r := range s {
		if used += columns(string(r)); used > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// columns is at least as many as s takes. Nothing below U+1100 is wide, and
// above it terminals differ; "…" is of ours.
func columns(s string) int {
	n := 0
	for _, r := range s {
		if n++; r >= 0x1100 && r != '…' {
			n++
		}
	}
	return n
}
