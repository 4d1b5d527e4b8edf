package progress

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// frame is the live lines: one for each running download and build as far as
// there is room above the cursor's row, and the totals. Every line is short of
// width, so that no terminal wraps it.
func frame(s *state, now time.Time, width, height int) []line {
	if !s.busy() {
		return nil
	}
	rows := append(downloadRows(s, now), buildRows(s, now)...)
	room := max(height-2, 0) // the cursor's row and the totals
	if more := len(rows) - room; more > 0 {
		keep := max(room-1, 0)
		rows = append(rows[:keep], row{name: fmt.Sprintf("… and %d more", len(rows)-keep)})[:min(keep+1, room)]
	}
	names := 0
	for _, r := range rows {
		if r.rest != "" {
			names = max(names, utf8.RuneCountInString(r.name))
		}
	}
	names = min(names, max(width/2, 1))
	var out []line
	for _, r := range rows {
		out = append(out, line{text: cut(r.join(names), width-1)})
	}
	return append(out, line{text: cut(totals(s, now), width-1), colour: bold})
}

// row is a live line in two columns.
type row struct{ name, rest string }

func (r row) join(names int) string {
	if r.rest == "" {
		return r.name
	}
	return fmt.Sprintf("%-*s  %s", names, cut(r.name, names), r.rest)
}

func downloadRows(s *state, now time.Time) []row {
	var rows []row
	for _, d := range s.fetch.downloads {
		e := d.event(now)
		size, share := "?", "?"
		if d.size >= 0 {
			size, share = text.Bytes(d.size), percent(d.done, d.size)
		}
		rest := fmt.Sprintf("%9s / %-9s %4s  %9s/s", text.Bytes(d.done), size, share, text.Bytes(*e.Rate))
		if e.Left != nil {
			rest += fmt.Sprintf("  %s left", text.Duration(time.Duration(*e.Left)))
		}
		rows = append(rows, row{text.Field(d.source.Name), rest})
	}
	return rows
}

func buildRows(s *state, now time.Time) []row {
	var rows []row
	for _, j := range s.builds.running {
		// Whole seconds: tenths that flicker tell nothing.
		took := text.Duration(now.Sub(j.began).Truncate(time.Second))
		rest := strings.TrimRight(fmt.Sprintf("%7s  %s", took, text.Field(j.instruction)), " ")
		rows = append(rows, row{text.Field(j.ref.String()), rest})
	}
	return rows
}

// totals is the bottom line.
func totals(s *state, now time.Time) string {
	var parts []string
	if f := &s.fetch; f.runs > 0 {
		said := fmt.Sprintf("sources %d/%d", f.done, f.total)
		if f.failed > 0 {
			said += fmt.Sprintf(", %d failed", f.failed)
		}
		if len(f.downloads) > 0 {
			said += fmt.Sprintf(", %s/s", text.Bytes(int64(f.meter.Rate(now))))
		}
		parts = append(parts, said)
	}
	if s.builds.total > 0 {
		parts = append(parts, tally(&s.builds))
	}
	parts = append(parts, text.Duration(now.Sub(s.start).Truncate(time.Second)))
	return strings.Join(parts, " | ")
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
// above it nobody agrees; "…" is of ours.
func columns(s string) int {
	n := 0
	for _, r := range s {
		if n++; r >= 0x1100 && r != '…' {
			n++
		}
	}
	return n
}
