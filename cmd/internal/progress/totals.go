package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// part is a part of the bottom line, in two lengths.
type part struct {
	long, short string
	rank        int // those of the highest go first where there is no room
}

// totals is the bottom line: of its parts as many as fit.
func totals(s *state, now time.Time, width int) string {
	parts := slices.DeleteFunc(totalParts(s, now), func(p part) bool { return p.long == "" })
	said := joinParts(parts, " | ", func(p part) string { return p.long })
	for columns(said) > width && len(parts) > 0 {
		if said = joinParts(parts, ", ", func(p part) string { return p.short }); columns(said) <= width || len(parts) == 1 {
			break
		}
		last := slices.MaxFunc(parts, func(a, b part) int { return a.rank - b.rank })
		parts = slices.DeleteFunc(parts, func(p part) bool { return p == last })
	}
	return cut(said, width)
}

func joinParts(parts []part, sep string, of func(part) string) string {
	var all []string
	for _, p := range parts {
		all = append(all, of(p))
	}
	return strings.Join(all, sep)
}

func totalParts(s *state, now time.Time) []part {
	var parts []part
	b := &s.builds
	if b.total > 0 {
		done := fmt.Sprintf("%d/%d", b.done, b.total)
		parts = append(parts, part{tally(b), joinNonEmpty(done, some(b.failed, "failed")), 0})
	}
	if f := &s.fetch; f.runs > 0 {
		parts = append(parts, fetchPart("sources", f, now))
	}
	if i := &s.images; i.runs > 0 {
		parts = append(parts, fetchPart("images", i, now))
	}
	parts = append(parts, part{took(s.start, now), took(s.start, now), 3})
	switch left, ok := b.left(now); {
	case s.stopping && len(b.running) > 0:
		parts = append(parts, part{"finishing " + count(len(b.running), "output") + ", Ctrl-C cancels", "finishing", 1})
	case ok && !s.stopping:
		said := leftWords(left, b.guessed())
		parts = append(parts, part{said, said, 1})
	}
	return parts
}

func fetchPart(what string, f *fetching, now time.Time) part {
	short := fmt.Sprintf("%s %d/%d", what, f.done, f.total)
	long := joinNonEmpty(short, some(f.failed, "failed"))
	if len(f.downloads) > 0 {
		long += fmt.Sprintf(", %s/s", text.Bytes(int64(f.meter.Rate(now))))
	}
	return part{long, short, 2}
}

// leftWords say how long the rest takes. An estimate that turned out too short is
// worth no number.
func leftWords(left time.Duration, guessed bool) string {
	if left < 0 {
		return "later than estimated"
	}
	return about(left, guessed) + " left"
}

// tally is "3/55 done, 1 failed".
func tally(b *builds) string {
	return joinNonEmpty(fmt.Sprintf("%d/%d done", b.done, b.total),
		some(b.saved, "unchanged"), some(b.failed, "failed"), some(b.skipped, "skipped"))
}

func joinNonEmpty(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// some is "" for none.
func some(n int, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}
