package fetch

import (
	"context"
	"errors"

	"go.uber.org/zap"
)

// gain is how many bytes make a round that failed worth not counting.
const gain = 1 << 20

// download fills p from the mirrors, in rounds. In the first, while there are
// several, a mirror that fails is given up for the next at once; those that may
// do better are then asked again, patiently. A round that brought the file
// forward is not counted, so that a line that breaks now and then does get
// there. The error is a Failure's attempts, a local one, or ctx's cause.
func (r *run) download(ctx context.Context, g *group, p *part, show *progress) error {
	tour := &tour{run: r, group: g, part: p, show: show, best: p.size}
	if r.opts.First != nil {
		tour.mirrors = append(tour.mirrors, r.opts.First.mirror(g.hash))
	}
	for _, raw := range g.mirrors {
		tour.mirrors = append(tour.mirrors, newMirror(raw))
	}
	defer func() { tour.slot.release() }()
	patient := tour.alive() == 1
	for idle := 0; tour.alive() > 0 && idle <= r.opts.Retries; patient = true {
		if done, err := tour.round(ctx, patient); done || err != nil {
			return err
		}
		tour.slot.release()
		if tour.gained() {
			idle = 0
		} else {
			idle++
		}
		if err := tour.rest(ctx, idle); err != nil {
			return err
		}
	}
	return tour.attempts()
}

// tour is one download's way over its mirrors.
type tour struct {
	run     *run
	group   *group
	part    *part
	show    *progress
	mirrors []*mirror
	slot    *slot
	best    int64 // the most bytes there ever were
}

func (t *tour) alive() (n int) {
	for _, m := range t.mirrors {
		if !m.dead {
			n++
		}
	}
	return n
}

// gained says whether the file came forward since the last call.
func (t *tour) gained() bool {
	before := t.best
	t.best = max(t.best, t.part.size)
	return t.best-before >= gain
}

// rest waits before the next round, if there is to be one.
func (t *tour) rest(ctx context.Context, idle int) error {
	if t.alive() == 0 || idle > t.run.opts.Retries {
		return nil
	}
	return pause(ctx, t.run.opts.Backoff(max(idle-1, 0)))
}

// round asks each mirror that is alive. The error is one that no mirror cures.
func (t *tour) round(ctx context.Context, patient bool) (done bool, err error) {
	for _, m := range t.mirrors {
		if m.dead {
			continue
		}
		m.patient = patient
		m.err = t.ask(ctx, m)
		if m.err == nil || fatal(ctx, m.err) {
			return m.err == nil, m.err
		}
		t.run.opts.Log.Warn("giving a mirror up", zap.String("source", t.group.wants[0].Name), zap.String("mirror", m.show), zap.Error(m.err))
		t.run.status.tell(func(s Status) { s.Fail(t.show.source, m.show, m.err) })
	}
	return false, nil
}

// ask gets a slot for the mirror's host, and then the file.
func (t *tour) ask(ctx context.Context, m *mirror) error {
	slot, err := t.run.limits.acquire(ctx, hostOf(m.url), t.group.seq, t.slot)
	t.slot, m.slot = slot, slot
	if err != nil {
		return err
	}
	began := false
	err = t.run.getVerified(ctx, m, t.part, t.show, &began)
	// What had no answer has had its retries already, if it was to have any.
	m.dead = err != nil && (!transient(err) || m.patient && !began)
	return err
}

// getVerified gets the file or throws away what cannot become it.
func (r *run) getVerified(ctx context.Context, m *mirror, p *part, show *progress, began *bool) error {
	err := r.getOnce(ctx, m, p, show, began)
	var ranges *rangeError
	var sum *HashError
	switch {
	case errors.As(err, &ranges):
		m.whole = true
		err = r.getOnce(ctx, m, p, show, began)
	case errors.As(err, &sum) && p.from > 0:
		// The first bytes came from elsewhere, or from another day.
		if err := p.reset(); err != nil {
			return err
		}
		err = r.getOnce(ctx, m, p, show, began)
	}
	var size *SizeError
	if errors.As(err, &sum) || errors.As(err, &size) && *began {
		return errors.Join(err, p.reset())
	}
	return err
}

func (r *run) getOnce(ctx context.Context, m *mirror, p *part, show *progress, began *bool) error {
	if err := r.get(ctx, m, p, show, began); err != nil {
		return err
	}
	return p.complete()
}

// fatal errors end the download, whatever mirrors are left.
func fatal(ctx context.Context, err error) bool {
	var disk *DiskError
	var local *localError
	return ctx.Err() != nil || errors.As(err, &disk) || errors.As(err, &local)
}

// attemptsError carries what each mirror said to the group's failures.
type attemptsError []Attempt

func (attemptsError) Error() string { return "no mirror has it" }

func (t *tour) attempts() error {
	var all attemptsError
	for _, m := range t.mirrors {
		all = append(all, Attempt{Mirror: m.show, Reason: m.err})
	}
	if len(all) == 0 {
		all = attemptsError{{Reason: errNoMirrors}}
	}
	return all
}
