package transfer

import (
	"context"
	"time"
)

// gain is how many bytes a failed round must have received not to be counted.
const gain = 1 << 20

// Rounds asks places for one file or document, in rounds. In the first round, if there
// are several places, requests are not retried: the next place is asked at once. Places
// whose failures may be temporary are asked again in further rounds, in which requests
// are retried. A round in which the file grew is not counted, so that a download over an
// unreliable connection completes.
type Rounds[P comparable] struct {
	Retries int // further rounds, and further tries of a request
	Backoff func(n int) time.Duration
	// Order lists the places to ask in this round; those that are given up are skipped.
	Order func() []P
	// Ask asks one place, and retries a request up to retries times.
	Ask func(ctx context.Context, place P, retries int) error
	// GaveUp is called each time that a place fails. again reports whether it failed for
	// the same cause the time before: users need to be told only once.
	GaveUp func(place P, err error, again bool)
	// Size returns how many bytes have been received.
	Size func() int64
	// Rest is called between rounds, and returns the least time to wait.
	Rest func() time.Duration
	// Said has the last failure of each place. It may be filled before Run.
	Said map[P]error
}

// Run returns the place that succeeded. If none did, found is false and Said has the
// reasons. An error is one for which no place can succeed, or ctx's cause.
func (r *Rounds[P]) Run(ctx context.Context) (place P, found bool, err error) {
	retries := 0
	if len(r.open()) == 1 {
		retries = r.Retries
	}
	for idle, best := 0, r.Size(); idle <= r.Retries && len(r.open()) > 0; retries = r.Retries {
		for _, place := range r.open() {
			err := r.Ask(ctx, place, retries)
			if err == nil {
				return place, true, nil
			}
			if ctx.Err() != nil || OutcomeOf(err) == Ends {
				return place, false, because(ctx, err)
			}
			before := r.Said[place]
			r.Said[place] = err
			r.GaveUp(place, err, before != nil && Cause(before) == Cause(err))
		}
		if now := r.Size(); now-best >= gain {
			best, idle = now, 0
		} else {
			best, idle = max(best, now), idle+1
		}
		least := r.Rest()
		if idle > r.Retries || len(r.open()) == 0 {
			break
		}
		if err := Pause(ctx, max(r.Backoff(max(idle-1, 0)), least)); err != nil {
			return place, false, err
		}
	}
	return place, false, nil
}

// open lists the places to ask in this round, without those given up.
func (r *Rounds[P]) open() (places []P) {
	for _, p := range r.Order() {
		if err := r.Said[p]; err == nil || OutcomeOf(err) == Passes {
			places = append(places, p)
		}
	}
	return places
}
