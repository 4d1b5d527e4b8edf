package progress

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// fetching is what is known of the downloads. Several fetch.Run, at once or one
// after the other, add to it: its counts never go down.
type fetching struct {
	runs      int // between their Begin and End
	began     time.Time
	total     int
	done      int // had, or failed for good
	failed    int
	how       map[string]int
	meter     fetch.Meter
	started   int                  // downloads, in all
	downloads map[string]*download // running, by path
	causes    map[string]int       // failures, by cause
}

func newFetching() fetching {
	return fetching{how: map[string]int{}, downloads: map[string]*download{}}
}

// download is a source that a mirror sends.
type download struct {
	source     fetch.Source
	number     int // of its start
	began      time.Time
	told       time.Time // when plain last wrote of it
	done, size int64     // size is -1 where unknown
	meter      fetch.Meter
}

func (s *state) beginFetch(now time.Time, n int) event {
	f := &s.fetch
	if f.began.IsZero() {
		f.began = now
		f.meter.Add(now, 0)
	}
	f.runs++
	f.total += n
	s.began(now)
	return event{Event: fetchBegin, Sources: &n}
}

func (s *state) startFetch(now time.Time, src fetch.Source, mirror string, done, size int64) event {
	f := &s.fetch
	d := f.downloads[src.Path]
	if d == nil {
		f.started++
		d = &download{source: src, number: f.started, began: now, told: now}
		d.meter.Add(now, 0)
		f.downloads[src.Path] = d
	}
	d.done, d.size = done, size
	return event{Event: fetchStart, Source: src.Name, Path: src.Path, Mirror: mirror, Bytes: &done, Size: known(size)}
}

func (s *state) advanceFetch(now time.Time, src fetch.Source, done, size int64) event {
	d := s.fetch.downloads[src.Path]
	if d == nil {
		return event{Event: fetchProgress, Source: src.Name, Path: src.Path, Bytes: &done, Size: known(size)}
	}
	d.meter.Add(now, done-d.done)
	s.fetch.meter.Add(now, done-d.done)
	d.done, d.size = done, size
	return d.event(now)
}

// event is how far a download is.
func (d *download) event(now time.Time) event {
	e := event{Event: fetchProgress, Source: d.source.Name, Path: d.source.Path, Bytes: new(d.done), Size: known(d.size)}
	e.Rate = new(int64(d.meter.Rate(now)))
	if d.size < 0 {
		return e
	}
	if left, ok := d.meter.Left(now, d.size-d.done); ok {
		e.Left = new(length(left))
	}
	return e
}

func (s *state) doneFetch(now time.Time, src fetch.Source, how string) event {
	f := &s.fetch
	f.done++
	f.how[how]++
	e := event{Event: fetchDone, Source: src.Name, Path: src.Path, How: how}
	if d := f.downloads[src.Path]; d != nil {
		elapsed := now.Sub(d.began)
		e.Bytes, e.Elapsed = new(d.done), new(length(elapsed))
		if elapsed > 0 {
			e.Rate = new(int64(float64(d.meter.Total()) / elapsed.Seconds()))
		}
		delete(f.downloads, src.Path)
	}
	return e
}

// failFetch keeps a download whose mirror was given up: a next one may go on.
func (s *state) failFetch(src fetch.Source, mirror string, err error) event {
	if mirror == "" {
		s.fetch.done++
		s.fetch.failed++
		delete(s.fetch.downloads, src.Path)
	}
	// The source's name is a field of its own.
	reason := strings.TrimPrefix(err.Error(), fmt.Sprintf("%q: ", src.Name))
	return event{Event: fetchFail, Source: src.Name, Path: src.Path, Mirror: mirror, Error: reason, met: s.fetch.met(mirror, err)}
}

func (s *state) endFetch(now time.Time) event {
	f := &s.fetch
	if f.runs = max(f.runs-1, 0); f.runs == 0 {
		clear(f.downloads)
	}
	return event{
		Event: fetchEnd, Sources: new(f.total), Present: new(f.how[fetch.Present]), Fetched: new(f.how[fetch.Fetched]),
		Linked: new(f.how[fetch.Linked]), Failed: new(f.failed), Bytes: new(f.meter.Total()), Elapsed: new(length(now.Sub(f.began))),
	}
}

// running are the downloads in the order they started.
func (f *fetching) running() []*download {
	return slices.SortedFunc(maps.Values(f.downloads), func(x, y *download) int { return cmp.Compare(x.number, y.number) })
}

// met counts the failures of one cause, those of mirrors apart from those of sources.
func (f *fetching) met(mirror string, err error) int {
	key := transfer.Cause(err)
	if mirror == "" {
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
