package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

const (
	plainPeriod = time.Second
	// downloadEvery is how often a long download is told of.
	downloadEvery = 10 * time.Second
	// heartbeatEvery is so much below a minute that a heartbeat, which waits
	// for a tick, comes within it: some CI systems kill what is silent longer.
	heartbeatEvery = time.Minute - plainPeriod
	// heartbeatNames bounds what one heartbeat names.
	heartbeatNames = 8
)

// plain shows a line for each change, and now and then one for what goes on.
type plain struct {
	printer
	state *state
	beat  time.Time // the last heartbeat, or since when something runs
}

var _ view = (*plain)(nil)

func (v *plain) period() time.Duration { return plainPeriod }
func (v *plain) close()                {}

func (v *plain) show(e events.Event) {
	v.print(words(e), detail)
	v.live(e.Time)
}

// live keeps the time since when something runs.
func (v *plain) live(now time.Time) bool {
	switch {
	case !v.state.busy():
		v.beat = time.Time{}
	case v.beat.IsZero():
		v.beat = now
	}
	return v.state.busy()
}

func (v *plain) tick(now time.Time) {
	for _, d := range slices.Concat(v.state.fetch.running(), v.state.images.running()) {
		if now.Sub(d.told) >= downloadEvery {
			d.told = now
			v.print([]line{{text: progressWords(d.event(now))}}, detail)
		}
	}
	if v.live(now) && now.Sub(v.beat) >= heartbeatEvery {
		v.beat = now
		v.print([]line{{text: heartbeat(v.state, now)}}, detail)
	}
}

// heartbeat says what still runs, in one line.
func heartbeat(s *state, now time.Time) string {
	f, b := &s.fetch, &s.builds
	var parts []string
	groups := b.groups()
	for i, g := range groups {
		if i == heartbeatNames {
			parts = append(parts, fmt.Sprintf("and %d more", len(groups)-i))
			break
		}
		parts = append(parts, beatWords(g, now))
	}
	if f.runs > 0 {
		parts = append(parts, fmt.Sprintf("sources %d/%d", f.done, f.total))
	}
	if i := &s.images; i.runs > 0 {
		parts = append(parts, fmt.Sprintf("images %d/%d", i.done, i.total))
	}
	if b.total > 0 {
		parts = append(parts, tally(b))
	}
	if left, ok := b.left(now); ok && !s.stopping {
		parts = append(parts, leftWords(left, b.guessed()))
	}
	what := "fetching"
	if b.total > 0 {
		what = "building"
	}
	return fmt.Sprintf("still %s: %s", what, strings.Join(parts, ", "))
}

func beatWords(g group, now time.Time) string {
	const width = 60
	said := text.Field(g.name) + " " + text.Duration(now.Sub(g.began))
	if g.expected > 0 {
		said += " / " + about(g.expected, g.guessed)
	}
	if doing := g.doing(); doing != "" {
		said += " (" + cut(text.Field(doing), width) + ")"
	}
	return said
}
