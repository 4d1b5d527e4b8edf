package progress

import (
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"
)

// sameCause is how many failures of one cause get a line each.
const sameCause = 3

func transferWords(e event) []line {
	switch e.Event {
	case fetchBegin:
		return lines(detail, none, "checking "+count(*e.Sources, "source"))
	case preseedBegin:
		return lines(detail, none, "preseeding "+count(*e.Images, "image"))
	case fetchStart, preseedStart:
		return lines(detail, none, e.item()+": "+startWords(e))
	case fetchDone, preseedDone:
		return doneWords(e)
	case fetchFail, preseedFail:
		return failWords(e)
	case fetchEnd:
		return endWords(e, ofSources, *e.Sources, *e.Fetched)
	case preseedEnd:
		return endWords(e, ofImages, *e.Images, *e.Preseeded)
	}
	return nil
}

// failWords has a line for the first failures of one cause; the table at the end of a
// run counts the rest.
func failWords(e event) []line {
	place := e.place()
	switch {
	case e.met > sameCause+1 || e.met == sameCause+1 && place == "":
		return nil
	case e.met == sameCause+1:
		return lines(change, yellow, "further failures of the same cause are counted at the end: "+e.Error)
	case place != "":
		return lines(change, yellow, fmt.Sprintf("%s: gave up %s: %s", e.item(), place, e.Error))
	}
	return lines(trouble, red, e.item()+": failed")
}

func startWords(e event) string {
	switch {
	case *e.Bytes > 0:
		return fmt.Sprintf("resuming at %s from %s", portion(e), e.place())
	case e.Size != nil:
		return fmt.Sprintf("downloading %s from %s", text.Bytes(*e.Size), e.place())
	}
	return "downloading from " + e.place()
}

// progressWords are those of a download's regular line.
func progressWords(e event) string {
	said := fmt.Sprintf("%s: %s", e.item(), portion(e))
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
	switch e.How {
	case fetch.Present:
		return nil
	case preseed.Kept:
		return lines(change, yellow, fmt.Sprintf("%s: kept, because it was built here and is not the published image (rm -r out/%s, then preseed, takes that one)", e.Ref, e.Ref))
	}
	said := e.item() + ": " + e.How
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

func endWords(e event, of subject, total, brought int) []line {
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
func endWeight(e event) weight {
	if e.alone {
		return change
	}
	return detail
}

// portion is "1MiB of 2MiB", or "1MiB" if the size is unknown.
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
