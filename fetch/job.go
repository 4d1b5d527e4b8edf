package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// survey verifies the files of g that are present, links further names to them, and
// leaves the missing ones in g.wants. It moves wrong files away; offline it only reports
// them.
func (r *run) survey(ctx context.Context, g *group) {
	found := r.look(ctx, g)
	if r.opts.Offline || !slices.ContainsFunc(found, isWrong) {
		r.settle(ctx, g, found)
		return
	}
	p, err := r.temp.openPart(ctx, g.hash, r.waiting(g))
	if err != nil {
		r.failed(ctx, err, g.wants...)
		g.wants = nil
		return
	}
	defer p.close()
	if r.settle(ctx, g, r.look(ctx, g)) {
		p.Reset()
	}
}

// look checks each path of g and returns the errors of check.
func (r *run) look(ctx context.Context, g *group) (found []error) {
	for _, w := range g.wants {
		found = append(found, r.check(ctx, w.Path, g.hash))
	}
	return found
}

func isWrong(err error) bool {
	var wrong *wrongError
	return errors.As(err, &wrong)
}

// settle acts on the results of look, and reports whether the file is present. If a file
// is wrong, the caller holds the hash's lock.
func (r *run) settle(ctx context.Context, g *group, found []error) bool {
	var present *want
	var lacking []want
	for i, w := range g.wants {
		err := found[i]
		if isWrong(err) {
			wrong := &WrongError{Path: w.Path, Err: errors.Unwrap(err)}
			w.wrong = wrong
			if r.opts.Offline {
				r.lack(w)
				continue
			}
			if err = r.moveAway(w, wrong); err == nil {
				err = errAbsent
			}
		}
		switch {
		case err == nil:
			present = &w
			r.had(w, Present)
		case errors.Is(err, errAbsent):
			lacking = append(lacking, w)
		default:
			r.failed(ctx, err, w)
		}
	}
	g.wants = lacking
	if present != nil {
		r.linkAll(ctx, g, *present)
		if !r.opts.Offline {
			r.temp.forget(g.hash)
		}
	}
	return present != nil
}

// linkAll links all names that g wants to a file that is present.
func (r *run) linkAll(ctx context.Context, g *group, from want) {
	for _, w := range g.wants {
		if err := r.link(ctx, g, from, w); err != nil {
			r.failed(ctx, err, w)
			continue
		}
		r.had(w, Linked)
	}
	g.wants = nil
}

func (r *run) link(ctx context.Context, g *group, from, to want) error {
	a, err := r.tree.spot(from.Path, 0)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := r.tree.spot(to.Path, 0o755)
	if err != nil {
		return placingIn(err)
	}
	defer b.close()
	err = link(a, b)
	if errors.Is(err, fs.ErrExist) {
		// Another run linked it, or the source is listed twice.
		return r.verify(ctx, b, g.hash)
	}
	return err
}

// fetchGroup downloads the file of g once, and links all its names.
func (r *run) fetchGroup(ctx context.Context, g *group) {
	if r.opts.Offline && !r.temp.begun(g.hash) {
		r.lack(g.wants...)
		return
	}
	p, err := r.temp.openPart(ctx, g.hash, r.waiting(g))
	switch {
	case err != nil && r.opts.Offline && ctx.Err() == nil:
		r.lack(g.wants...) // for example, nothing can be written there
		return
	case err != nil:
		r.failed(ctx, err, g.wants...)
		return
	}
	defer p.close()
	// The run that held the lock may have downloaded it.
	had := r.settle(ctx, g, r.look(ctx, g))
	if len(g.wants) == 0 || ctx.Err() != nil {
		if had {
			p.Reset()
		}
		return
	}
	if p.Check() != nil {
		r.reclaim(ctx, g)
	}
	if len(g.wants) == 0 || ctx.Err() != nil {
		return
	}
	if p.size > r.opts.MaxFile && !r.opts.Offline {
		p.Reset()
	}
	if p.Check() != nil {
		if r.opts.Offline {
			r.lack(g.wants...)
			return
		}
		show := &progress{Status: r.status, Item: g.wants[0].Source, Now: r.opts.Limits.Now}
		if err := r.download(ctx, g, p, show); err != nil {
			r.failed(ctx, err, g.wants...)
			return
		}
	}
	r.place(ctx, g, Fetched, p.finish)
}

// waiting returns a function that warns that another sx downloads the file of g.
func (r *run) waiting(g *group) func() {
	name := g.wants[0].Name
	return func() {
		r.status.Tell(func(s Status) {
			s.Warn(fmt.Sprintf("%s: another sx is downloading it: waiting for it; Ctrl-C ends only this sx", name))
		})
	}
}

// place moves a file to the first path of g where that succeeds, and links the others.
// finish moves it to one path; how is the outcome to record.
func (r *run) place(ctx context.Context, g *group, how string, finish func(*spot) error) {
	for len(g.wants) > 0 {
		w := g.wants[0]
		g.wants = g.wants[1:]
		if err := r.finish(w, finish); err != nil {
			r.failed(ctx, err, w)
			continue
		}
		r.had(w, how)
		r.linkAll(ctx, g, w)
	}
}

func (r *run) finish(w want, finish func(*spot) error) error {
	s, err := r.tree.spot(w.Path, 0o755)
	if err != nil {
		return placingIn(err)
	}
	defer s.close()
	return finish(s)
}

// placingIn returns a *DiskError if the disk is too full for a new folder, else err.
func placingIn(err error) error {
	if isFull(err) {
		return &DiskError{Path: "fetch", Err: cause(err)}
	}
	return err
}

// lack records sources that are not on this machine.
func (r *run) lack(wants ...want) {
	for _, w := range wants {
		m := Missing{Source: w.Source, Wrong: w.wrong}
		r.mu.Lock()
		r.missing = append(r.missing, m)
		r.mu.Unlock()
		r.status.Tell(func(s Status) { s.Fail(w.Source, "", m) })
	}
}
