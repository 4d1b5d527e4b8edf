package progress

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"

	"codeberg.org/stagex/sx/cmd/internal/events"
)

// fetching counts the transfers of one subject. Several runs, at once or one after the
// other, add to it: its counts never go down.
type fetching struct {
	subject
	runs      int // between their Begin and End
	began     time.Time
	total     int
	done      int // had, or failed for good
	failed    int
	how       map[string]int
	meter     fetch.Meter
	started   int                  // downloads, in all
	downloads map[string]*download // running, by path or output
	causes    map[string]int       // failures, by cause
}

func newFetching(of subject) fetching {
	return fetching{subject: of, how: map[string]int{}, downloads: map[string]*download{}}
}

// download is an item that a place sends.
type download struct {
	about      events.Event // the fields that name it, and how far it is
	number     int          // of its start
	began      time.Time
	told       time.Time // when plain last wrote of it
	done, size int64     // size is -1 if unknown
	meter      fetch.Meter
}

func (f *fetching) begin(now time.Time, n int) events.Event {
	if f.began.IsZero() {
		f.began = now
		f.meter.Add(now, 0)
	}
	f.runs++
	f.total += n
	e := events.Event{Event: f.subject.begin}
	if f.parts {
		e.Images = &n
	} else {
		e.Sources = &n
	}
	return e
}

func (f *fetching) start(now time.Time, about events.Event, done, size int64) events.Event {
	d := f.downloads[about.Key()]
	if d != nil && f.parts {
		d.size = size
		return d.event(now)
	}
	if d == nil {
		f.started++
		d = &download{about: about.As(f.progress), number: f.started, began: now, told: now}
		d.about.Mirror, d.about.Registry = "", ""
		d.meter.Add(now, 0)
		f.downloads[about.Key()] = d
	}
	d.done, d.size = done, size
	e := about.As(f.subject.start)
	e.Bytes, e.Size = &done, known(size)
	return e
}

func (f *fetching) advance(now time.Time, about events.Event, done, size int64) events.Event {
	d := f.downloads[about.Key()]
	if d == nil {
		e := about.As(f.progress)
		e.Bytes, e.Size = &done, known(size)
		return e
	}
	d.meter.Add(now, done-d.done)
	f.meter.Add(now, done-d.done)
	d.done, d.size = done, size
	return d.event(now)
}

// event returns how far a download is.
func (d *download) event(now time.Time) events.Event {
	e := d.about
	e.Bytes, e.Size, e.Rate = new(d.done), known(d.size), new(int64(d.meter.Rate(now)))
	if d.size < 0 {
		return e
	}
	if left, ok := d.meter.Left(now, d.size-d.done); ok {
		e.Left = new(events.Length(left))
	}
	return e
}

func (f *fetching) finish(now time.Time, about events.Event, how string) events.Event {
	f.done++
	f.how[how]++
	e := about.As(f.subject.done)
	e.How = how
	if d := f.downloads[about.Key()]; d != nil {
		elapsed := now.Sub(d.began)
		e.Bytes, e.Elapsed = new(d.done), new(events.Length(elapsed))
		if elapsed > 0 {
			e.Rate = new(int64(float64(d.meter.Total()) / elapsed.Seconds()))
		}
		delete(f.downloads, about.Key())
	}
	return e
}

// fail records that an item failed for good, or else only the place: then its
// download stays, because another place may go on with it.
func (f *fetching) fail(about events.Event, forGood bool, err error) events.Event {
	if forGood {
		f.done++
		f.failed++
		delete(f.downloads, about.Key())
	}
	err = reason(err)
	e := about.As(f.subject.fail)
	e.Error, e.Met = err.Error(), f.met(forGood, err)
	return e
}

func (f *fetching) end(now time.Time) events.Event {
	if f.runs = max(f.runs-1, 0); f.runs == 0 {
		clear(f.downloads)
	}
	e := events.Event{
		Event: f.subject.end, Present: new(f.how[fetch.Present]), Linked: new(f.how[fetch.Linked]),
		Failed: new(f.failed), Bytes: new(f.meter.Total()), Elapsed: new(events.Length(now.Sub(f.began))),
	}
	f.counts(&e, f)
	return e
}

// running lists the downloads in the order in which they started.
func (f *fetching) running() []*download {
	return slices.SortedFunc(maps.Values(f.downloads), func(x, y *download) int { return cmp.Compare(x.number, y.number) })
}

// met counts the failures of one cause, those of places apart from those of items.
func (f *fetching) met(forGood bool, err error) int {
	key := transfer.Cause(err)
	if forGood {
		key = "\x00" + key
	}
	if f.causes == nil {
		f.causes = map[string]int{}
	}
	if len(f.causes) < maxCauses {
		f.causes[key]++
	}
	return f.causes[key]
}

// maxCauses bounds what is remembered of what servers say.
const maxCauses = 1000

// known returns nil for an unknown size.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}
