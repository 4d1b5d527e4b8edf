package progress

import (
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"
)

// sameCause is how many failures of one cause get a line each.
const sameCause = 3

func transferWords(e events.Event) []line {
	switch e.Event {
	case events.FetchBegin:
		return lines(detail, none, "checking "+count(*e.Sources, "source"))
	case events.PreseedBegin:
		return lines(detail, none, "preseeding "+count(*e.Images, "image"))
	case events.FetchStart, events.PreseedStart:
		return lines(detail, none, e.Item()+": "+startWords(e))
	case events.FetchDone, events.PreseedDone:
		return doneWords(e)
	case events.FetchFail, events.PreseedFail:
		return failWords(e)
	case events.FetchEnd:
		return endWords(e, ofSources, *e.Sources, *e.Fetched)
	case events.PreseedEnd:
		return endWords(e, ofImages, *e.Images, *e.Preseeded)
	}
	return nil
}

// failWords has a line for the first failures of one cause; the table at the end of a
// run counts the rest.
func failWords(e events.Event) []line {
	place := e.Place()
	switch {
	case e.Met > sameCause+1 || e.Met == sameCause+1 && place == "":
		return nil
	case e.Met == sameCause+1:
		return lines(change, yellow, "further failures of the same cause are counted at the end: "+e.Error)
	case place != "":
		return lines(change, yellow, fmt.Sprintf("%s: gave up %s: %s", e.Item(), place, e.Error))
	}
	return lines(trouble, red, e.Item()+": failed")
}

func startWords(e events.Event) string {
	switch {
	case *e.Bytes > 0:
		return fmt.Sprintf("resuming at %s from %s", portion(e), e.Place())
	case e.Size != nil:
		return fmt.Sprintf("downloading %s from %s", text.Bytes(*e.Size), e.Place())
	}
	return "downloading from " + e.Place()
}

// progressWords are those of a download's regular line.
func progressWords(e events.Event) string {
	said := fmt.Sprintf("%s: %s", e.Item(), portion(e))
	if e.Size != nil {
		said += fmt.Sprintf(" (%s)", percent(*e.Bytes, *e.Size))
	}
	said += fmt.Sprintf(", %s/s", text.Bytes(*e.Rate))
	if e.Left != nil {
		said += fmt.Sprintf(", %s left", text.Duration(time.Duration(*e.Left)))
	}
	return text.Field(said)
}

func doneWords(e events.Event) []line {
	switch e.How {
	case fetch.Present:
		return nil
	case preseed.Kept:
		return lines(change, yellow, fmt.Sprintf("%s: kept, because it was built here and is not the published image (rm -r out/%s, then preseed, takes that one)", e.Ref, e.Ref))
	}
	said := e.Item() + ": " + e.How
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

func endWords(e events.Event, of subject, total, brought int) []line {
	said := fmt.Sprintf("%s: %d present", count(total, of.noun), *e.Present)
	heavy := endWeight(e)
	if brought > 0 {
		said += fmt.Sprintf(", %d %s (%s)", brought, of.brought, text.Bytes(*e.Bytes))
		heavy = change
	}
	if *e.Linked > 0 {
		said += fmt.Sprintf(", %d linked", *e.Linked)
		heavy = change
	}
	if e.Kept != nil && *e.Kept > 0 {
		said += fmt.Sprintf(", %d kept", *e.Kept)
		heavy = change
	}
	if *e.Failed > 0 {
		said += fmt.Sprintf(", %d failed", *e.Failed)
		heavy = change
	}
	return lines(heavy, none, said)
}

// endWeight lets a terminal show the counts of a command that only transfers; beside
// builds they matter if something was transferred.
func endWeight(e events.Event) weight {
	if e.Alone {
		return change
	}
	return detail
}

// portion is "1MiB of 2MiB", or "1MiB" if the size is unknown.
func portion(e events.Event) string {
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
