package progress

import (
	"fmt"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// weight is how much a line matters, which decides the modes that show it.
type weight int

const (
	detail  weight = iota // plain
	change                // and tty, to stay above the live lines
	trouble               // and quiet
)

// beside begins each line that sx did not write.
const beside = "  | "

// line is escaped text of one line.
type line struct {
	text   string
	weight weight
	colour colour
}

// words puts an event into lines. Not every event has any. Only errors and
// texts may have several lines.
func words(e events.Event) []line {
	switch e.Event {
	case events.RunBegin, events.PlanKept, events.Verdict, events.FetchProgress, events.PreseedProgress, events.BuildStep, events.PlanStep, events.BuildLeft, events.RunEnd:
		return nil
	}
	for _, f := range []*string{&e.Source, &e.Mirror, &e.How, &e.Ref, &e.Reason, &e.Outcome, &e.Digest, &e.Cause, &e.Registry, &e.Engine} {
		*f = text.Field(*f)
	}
	switch e.Event {
	case events.Waiting:
		return lines(change, none, "waiting: "+e.Text)
	case events.Warning:
		return lines(trouble, yellow, "warning: "+e.Text)
	case events.Interrupted:
		return lines(trouble, yellow, "interrupted: running builds finish, nothing new starts; again to cancel them")
	case events.Cancelled:
		return lines(trouble, yellow, e.Text+": cancelling; again to exit at once")
	case events.Lost:
		return lines(trouble, yellow, count(*e.Events, "message")+" came faster than they were read, and are not shown")
	case events.BuildBegin:
		return lines(detail, none, "building "+count(*e.Steps, "output")+on(e.Engine))
	case events.BuildStart:
		return lines(detail, none, startedWords(e))
	case events.BuildFinish:
		return finishWords(e)
	}
	return transferWords(e)
}

// on names an engine that is not the one inside sx.
func on(engine string) string {
	if engine == "" || engine == "embedded" {
		return ""
	}
	return " on " + engine
}

// onEngine names one of several engines.
func onEngine(engine string) string {
	if engine == "" {
		return ""
	}
	return " on " + engine
}

func startedWords(e events.Event) string {
	said := e.Ref + ": building" + onEngine(e.Engine) + ": " + e.Reason
	if e.Expected != nil {
		said += fmt.Sprintf(" (%s)", about(time.Duration(*e.Expected), e.Guessed))
	}
	return said
}

func finishWords(e events.Event) []line {
	took := text.Duration(time.Duration(*e.Elapsed))
	tally := fmt.Sprintf("(%d/%d)", *e.Done, *e.Steps)
	switch plan.Outcome(e.Outcome) {
	case plan.Built:
		return lines(change, green, fmt.Sprintf("%s: built in %s: %s %s", e.Ref, took, short(e.Digest), tally))
	case plan.Unchanged:
		return lines(change, none, fmt.Sprintf("%s: unchanged, its dependencies kept their digests %s", e.Ref, tally))
	case plan.Reused:
		how := "reused, it is built already"
		if e.Registry != "" {
			how = "brought from the hub " + e.Registry + ", not built again"
		}
		return lines(change, none, fmt.Sprintf("%s: %s %s", e.Ref, how, tally))
	case plan.Failed:
		said := fmt.Sprintf("%s: failed after %s", e.Ref, took)
		if e.Log != "" {
			said += "; sx log " + e.Ref + " prints its log"
		}
		return lines(trouble, red, said)
	case plan.Skipped:
		return lines(change, yellow, fmt.Sprintf("%s: skipped, because %s failed", e.Ref, e.Cause))
	}
	said := fmt.Sprintf("%s: %s", e.Ref, e.Outcome)
	if e.Error != "" {
		said += ": " + e.Error
	}
	return lines(change, yellow, said)
}

// short abbreviates a digest as git and docker do.
func short(digest string) string {
	const n = len("sha256:") + 12
	if len(digest) <= n {
		return digest
	}
	return digest[:n] + "…"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// lines escapes s, a message that may have several lines. Those after the first
// are marked, so that none passes for a line of ours.
func lines(w weight, c colour, s string) []line {
	var out []line
	for i, l := range strings.Split(text.Lines(strings.TrimRight(s, "\n")), "\n") {
		if i > 0 {
			l = beside + l
		}
		out = append(out, line{text: l, weight: w, colour: c})
	}
	return out
}
