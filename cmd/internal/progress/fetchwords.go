package progress

import (
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
)

// sameCause is how many failures of one cause get a line each.
const sameCause = 3

func fetchWords(e event) []line {
	switch e.Event {
	case fetchBegin:
		return lines(detail, none, "checking "+count(*e.Sources, "source"))
	case fetchStart:
		return lines(detail, none, e.Source+": "+startWords(e))
	case fetchDone:
		return doneWords(e)
	case fetchFail:
		switch {
		case e.met > sameCause+1:
			return nil // the table at the end counts them
		case e.met == sameCause+1 && e.Mirror != "":
			return lines(change, yellow, "further failures of the same cause are counted at the end: "+e.Error)
		case e.met == sameCause+1:
			return nil
		}
		if e.Mirror != "" {
			return lines(change, yellow, fmt.Sprintf("%s: gave up %s: %s", e.Source, e.Mirror, e.Error))
		}
		return lines(trouble, red, e.Source+": failed")
	case fetchEnd:
		return endWords(e)
	}
	return nil
}

func startWords(e event) string {
	switch {
	case *e.Bytes > 0:
		return fmt.Sprintf("resuming at %s from %s", portion(e), e.Mirror)
	case e.Size != nil:
		return fmt.Sprintf("downloading %s from %s", text.Bytes(*e.Size), e.Mirror)
	}
	return "downloading from " + e.Mirror
}

// progressWords are those of a download's regular line.
func progressWords(e event) string {
	said := fmt.Sprintf("%s: %s", e.Source, portion(e))
	if e.Size != nil {
		said += fmt.Sprintf(" (%s)", percent(*e.Bytes, *e.Size))
	}
	said += fmt.Sprintf(", %s/s", text.Bytes(*e.Rate))
	if e.Left != nil {
		said += fmt.Sprintf(", %s left", text.Duration(time.Duration(*e.Left)))
	}
	return text.Field(said)
}

func doneWords(e event) []line {
	if e.How == fetch.Present {
		return nil
	}
	said := e.Source + ": " + e.How
	if e.Bytes == nil {
		return lines(change, none, said)
	}
	took := time.Duration(*e.Elapsed)
	said += fmt.Sprintf(" %s in %s", text.Bytes(*e.Bytes), text.Duration(took))
	if took >= time.Second { // no rate of an instant
		said += fmt.Sprintf(" (%s/s)", text.Bytes(*e.Rate))
	}
	return lines(change, none, said)
}

func endWords(e event) []line {
	said := fmt.Sprintf("%s: %d present", count(*e.Sources, "source"), *e.Present)
	heavy := detail
	if *e.Fetched > 0 {
		said += fmt.Sprintf(", %d fetched (%s)", *e.Fetched, text.Bytes(*e.Bytes))
		heavy = change
	}
	if *e.Linked > 0 {
		said += fmt.Sprintf(", %d linked", *e.Linked)
	}
	if *e.Failed > 0 {
		said += fmt.Sprintf(", %d failed", *e.Failed)
		heavy = change
	}
	return lines(heavy, none, said)
}

// portion is "1MiB of 2MiB", or "1MiB" where nobody knows of how much.
func portion(e event) string {
	if e.Size == nil {
		return text.Bytes(*e.Bytes)
	}
	return fmt.Sprintf("%s of %s", text.Bytes(*e.Bytes), text.Bytes(*e.Size))
}

// percent is at most 100: a server may send more than it said.
func percent(done, size int64) string {
	if size <= 0 || done >= size {
		return "100%"
	}
	return fmt.Sprintf("%d%%", int(100*float64(done)/float64(size)))
}
