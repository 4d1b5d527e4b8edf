package progress

import (
	"time"

	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"

	"codeberg.org/stagex/sx/cmd/internal/events"
)

// transfers passes the events of downloads on to a Display. Sources and published
// images are counted and shown alike; about makes the difference.
type transfers[T any] struct {
	d  *Display
	of func(*state) *fetching
	// about fills in the fields of an event that name an item and, unless it is "",
	// the place that sends it.
	about func(item T, place string) events.Event
}

var (
	_ fetch.Status   = transfers[fetch.Source]{}
	_ preseed.Status = transfers[string]{}
)

// Sources returns the Status for downloads of sources. Several fetch.Run may share it.
func (d *Display) Sources() fetch.Status {
	return transfers[fetch.Source]{d, func(s *state) *fetching { return &s.fetch }, func(src fetch.Source, mirror string) events.Event {
		return events.Event{Source: src.Name, Path: src.Path, Mirror: mirror}
	}}
}

// Images returns the Status for published images. Several preseed.Run may share it.
func (d *Display) Images() preseed.Status {
	return transfers[string]{d, func(s *state) *fetching { return &s.images }, func(output, registry string) events.Event {
		return events.Event{Ref: output, Registry: registry}
	}}
}

func (t transfers[T]) tell(f func(f *fetching, now time.Time) events.Event) {
	t.d.tell(func(s *state, now time.Time) events.Event {
		s.began(now)
		return f(t.of(s), now)
	})
}

func (t transfers[T]) Begin(n int) {
	t.tell(func(f *fetching, now time.Time) events.Event { return f.begin(now, n) })
}

func (t transfers[T]) Start(item T, place string, done, size int64) {
	t.tell(func(f *fetching, now time.Time) events.Event { return f.start(now, t.about(item, place), done, size) })
}

func (t transfers[T]) Advance(item T, done, size int64) {
	t.tell(func(f *fetching, now time.Time) events.Event { return f.advance(now, t.about(item, ""), done, size) })
}

func (t transfers[T]) Done(item T, how string) {
	t.tell(func(f *fetching, now time.Time) events.Event { return f.finish(now, t.about(item, ""), how) })
}

func (t transfers[T]) Fail(item T, place string, err error) {
	t.tell(func(f *fetching, _ time.Time) events.Event { return f.fail(t.about(item, place), place == "", err) })
}

func (t transfers[T]) Warn(text string) { t.d.Warn(text) }

func (t transfers[T]) End() {
	t.tell(func(f *fetching, now time.Time) events.Event { return f.end(now) })
}

// subject is a kind of items that are transferred.
type subject struct {
	noun, brought                           string // in sentences
	begin, start, progress, done, fail, end events.Kind
	// parts reports that an item comes in several transfers, so that another Start
	// only makes it larger.
	parts bool
	// counts are the fields of the last event that the other subject does not have.
	counts func(e *events.Event, f *fetching)
}

var ofSources = subject{
	noun: "source", brought: "fetched",
	begin: events.FetchBegin, start: events.FetchStart, progress: events.FetchProgress, done: events.FetchDone, fail: events.FetchFail, end: events.FetchEnd,
	counts: func(e *events.Event, f *fetching) { e.Sources, e.Fetched = new(f.total), new(f.how[fetch.Fetched]) },
}

var ofImages = subject{
	noun: "image", brought: "preseeded", parts: true,
	begin: events.PreseedBegin, start: events.PreseedStart, progress: events.PreseedProgress, done: events.PreseedDone, fail: events.PreseedFail, end: events.PreseedEnd,
	counts: func(e *events.Event, f *fetching) {
		e.Images, e.Preseeded, e.Kept = new(f.total), new(f.how[preseed.Fetched]), new(f.how[preseed.Kept])
	},
}

// reason returns err without the name of its item, which is a field of its own.
func reason(err error) error {
	if f, ok := err.(interface{ Reason() error }); ok {
		return f.Reason()
	}
	return err
}

var _, _ interface{ Reason() error } = fetch.Failure{}, preseed.Failure{}
