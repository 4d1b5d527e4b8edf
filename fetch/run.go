package fetch

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"codeberg.org/stagex/sx/fetch/transfer"
	"golang.org/x/sync/errgroup"
)

// waiting is how many groups may wait for a slot at once, each with its partial file
// open.
const waiting = 256

// run is one call of Run.
type run struct {
	opts      Options
	tree      *tree
	temp      *temp
	transport http.RoundTripper
	slots     *transfer.Slots
	status    *transfer.Serial[Source]
	stop      context.CancelCauseFunc
	bytes     atomic.Int64

	mu       sync.Mutex
	outcome  []string // by index in Run's list: Present, Fetched, Linked, or "" while the source is missing
	failures []Failure
	missing  []Missing
	stopped  error
}

// Run downloads the sources that are missing or wrong in the tree, and verifies all. A
// failure of one does not stop the others; the Report is valid also with an error.
//
// The error is an *Error, offline an *OfflineError or both joined, or ctx's cause; any
// other error means that Run did not begin. A full disk is a *DiskError in
// Error.Stopped. If Run is killed or cancelled, files with final names are complete, and
// partial ones stay in TempDir for the next run.
//
// Any number of Runs, of any processes, may share a tree.
func Run(ctx context.Context, sources []Source, opts Options) (Report, error) {
	all, err := groups(sources)
	if err != nil || len(all) == 0 {
		return Report{}, err
	}
	r, err := newRun(opts, len(sources))
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	r.status.Tell(func(s Status) { s.Begin(len(sources)) })
	defer r.status.Tell(Status.End)
	each(ctx, all, 2*runtime.GOMAXPROCS(0), r.survey)
	all = slices.DeleteFunc(all, func(g *group) bool { return len(g.wants) == 0 })
	each(ctx, all, r.window(), r.fetchGroup)
	return r.report(sources), r.err(ctx)
}

// each calls f for every group, limit at once, until ctx is done.
func each(ctx context.Context, all []*group, limit int, f func(context.Context, *group)) {
	var workers errgroup.Group
	workers.SetLimit(limit)
	for _, g := range all {
		workers.Go(func() error {
			if ctx.Err() == nil {
				f(ctx, g)
			}
			return nil
		})
	}
	workers.Wait() // f records errors
}

func newRun(opts Options, sources int) (*run, error) {
	opts = opts.withDefaults()
	t, err := openTree(opts.Tree)
	if err != nil {
		return nil, err
	}
	temp, err := openTemp(t, opts)
	if err != nil {
		t.close()
		return nil, err
	}
	return &run{
		opts: opts, tree: t, temp: temp,
		transport: newTransport(opts),
		slots:     transfer.NewSlots(opts.Jobs, opts.PerHost),
		status:    transfer.NewSerial(opts.Status),
		outcome:   make([]string, sources),
	}, nil
}

func (r *run) close() {
	closeIdle(r.transport, r.opts)
	r.temp.close()
	r.tree.close()
}

// window returns how many groups are worked on at once. With one job it is 1, so that
// the logs of two runs are equal.
func (r *run) window() int {
	if r.opts.Jobs == 1 {
		return 1
	}
	return max(waiting, r.opts.Jobs)
}

// had records that a source is in place.
func (r *run) had(w want, how string) {
	r.mu.Lock()
	r.outcome[w.index] = how
	r.mu.Unlock()
	r.status.Tell(func(s Status) { s.Done(w.Source, how) })
}

// failed records why sources could not be fetched. A full disk ends the run; if the run
// ends, nothing is recorded, because its error says why.
func (r *run) failed(ctx context.Context, err error, wants ...want) {
	var disk *DiskError
	if errors.As(err, &disk) {
		r.mu.Lock()
		r.stopped = cmp.Or(r.stopped, error(disk))
		r.mu.Unlock()
		r.stop(disk)
	}
	if ctx.Err() != nil {
		return
	}
	var attempts transfer.Attempts
	if !errors.As(err, &attempts) {
		attempts = transfer.Attempts{{Reason: err}}
	}
	for _, w := range wants {
		f := Failure{Source: w.Source, Attempts: attempts}
		if w.wrong != nil {
			f.Attempts = append(transfer.Attempts{{Reason: w.wrong}}, attempts...)
		}
		r.mu.Lock()
		r.failures = append(r.failures, f)
		r.mu.Unlock()
		r.status.Tell(func(s Status) { s.Fail(w.Source, "", f) })
	}
}

func (r *run) report(sources []Source) Report {
	rep := Report{Bytes: r.bytes.Load()}
	for i, s := range sources {
		switch r.outcome[i] {
		case Present:
			rep.Present = append(rep.Present, s)
		case Fetched:
			rep.Fetched = append(rep.Fetched, s)
		case Linked:
			rep.Linked = append(rep.Linked, s)
		}
	}
	return rep
}

func (r *run) err(ctx context.Context) error {
	if ctx.Err() != nil && r.stopped == nil {
		return context.Cause(ctx)
	}
	var errs []error
	if len(r.failures) > 0 || r.stopped != nil {
		slices.SortFunc(r.failures, func(a, b Failure) int { return compare(a.Source, b.Source) })
		errs = append(errs, &Error{Failures: r.failures, Total: len(r.outcome), Stopped: r.stopped})
	}
	if len(r.missing) > 0 {
		slices.SortFunc(r.missing, func(a, b Missing) int { return compare(a.Source, b.Source) })
		errs = append(errs, &OfflineError{r.missing})
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func compare(a, b Source) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
}
