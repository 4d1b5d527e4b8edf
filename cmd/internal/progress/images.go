package progress

import (
	"errors"
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"
)

// images is the half of a Display that is told about published images. They are
// counted and shown as sources are; only the words and the events differ.
type images struct{ d *Display }

// Images is the half that is told about published images.
func (d *Display) Images() preseed.Status { return images{d} }

var _ preseed.Status = images{}

// tell lets f act on the images as if they were sources.
func (i images) tell(f func(s *state, now time.Time) event) {
	i.d.tell(func(s *state, now time.Time) event {
		as := state{start: s.start, fetch: s.images}
		e := f(&as, now)
		s.start, s.images = as.start, as.fetch
		return imageEvent(e)
	})
}

// imageKinds are the events that are told of images.
var imageKinds = map[kind]kind{
	fetchBegin: preseedBegin, fetchStart: preseedStart, fetchProgress: preseedProgress,
	fetchDone: preseedDone, fetchFail: preseedFail, fetchEnd: preseedEnd,
}

func imageEvent(e event) event {
	e.Event = imageKinds[e.Event]
	e.Ref, e.Registry = e.Source, e.Mirror
	e.Images, e.Source, e.Path, e.Mirror, e.Sources = e.Sources, "", "", "", nil
	return e
}

func asSource(output string) fetch.Source { return fetch.Source{Name: output, Path: output} }

func (i images) Begin(n int) {
	i.tell(func(s *state, now time.Time) event { return s.beginFetch(now, n) })
}

func (i images) Start(output, registry string, done, size int64) {
	i.tell(func(s *state, now time.Time) event {
		if d := s.fetch.downloads[output]; d != nil { // one more blob of it
			d.size = size
			return d.event(now)
		}
		return s.startFetch(now, asSource(output), registry, done, size)
	})
}

func (i images) Advance(output string, done, size int64) {
	i.tell(func(s *state, now time.Time) event { return s.advanceFetch(now, asSource(output), done, size) })
}

func (i images) Done(output, how string) {
	i.tell(func(s *state, now time.Time) event { return s.doneFetch(now, asSource(output), how) })
}

func (i images) Fail(output, registry string, err error) {
	var f preseed.Failure
	if errors.As(err, &f) {
		err = f.Reason() // its output is a field of its own
	}
	i.tell(func(s *state, now time.Time) event { return s.failFetch(asSource(output), registry, err) })
}

func (i images) Warn(text string) { i.d.Warn(text) }

func (i images) End() {
	i.tell(func(s *state, now time.Time) event {
		e := s.endFetch(now)
		e.Preseeded, e.Kept, e.Fetched = new(s.fetch.how[preseed.Fetched]), new(s.fetch.how[preseed.Kept]), nil
		return e
	})
}

// imageWords puts the events of images into lines.
func imageWords(e event) []line {
	e.Source, e.Mirror = e.Ref, e.Registry
	switch e.Event {
	case preseedBegin:
		return lines(detail, none, "preseeding "+count(*e.Images, "image"))
	case preseedDone:
		if e.How == preseed.Kept {
			return lines(change, yellow, fmt.Sprintf("%s: kept, because it was built here and is not the published image (rm -r out/%s, then preseed, takes that one)", e.Ref, e.Ref))
		}
		return doneWords(e)
	case preseedEnd:
		return imagesEnd(e)
	}
	for of, is := range imageKinds {
		if is == e.Event {
			e.Event = of
			return fetchWords(e)
		}
	}
	return nil
}

func imagesEnd(e event) []line {
	said := fmt.Sprintf("%s: %d present", count(*e.Images, "image"), *e.Present)
	heavy := detail
	if *e.Preseeded > 0 {
		said += fmt.Sprintf(", %d preseeded (%s)", *e.Preseeded, text.Bytes(*e.Bytes))
		heavy = change
	}
	for _, p := range []struct {
		n    int
		what string
	}{{*e.Linked, "linked"}, {*e.Kept, "kept"}, {*e.Failed, "failed"}} {
		if p.n > 0 {
			said += fmt.Sprintf(", %d %s", p.n, p.what)
			heavy = change
		}
	}
	return lines(heavy, none, said)
}
