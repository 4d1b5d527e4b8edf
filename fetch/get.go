package fetch

import (
	"context"
	"net/http"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"go.uber.org/zap"
)

// newTransport returns the transport for all requests of a run, so that connections are
// reused.
func newTransport(o Options) http.RoundTripper {
	base := o.Transport
	if base == nil {
		base = transfer.NewTransport(o.Limits, o.PerHost, nil)
	}
	if o.First != nil {
		base = &forked{base, o.First.scheme(), o.First.Client}
	}
	return &transfer.Transport{Base: base, Limits: o.Limits, UserAgent: o.UserAgent, Breaker: &transfer.Breaker{}}
}

// closeIdle closes idle connections, unless the transport is the caller's.
func closeIdle(t http.RoundTripper, o Options) {
	base := t.(*transfer.Transport).Base
	if f, ok := base.(*forked); ok {
		base = f.RoundTripper
	}
	if t, ok := base.(*http.Transport); ok && o.Transport == nil {
		t.CloseIdleConnections()
	}
}

// forked sends the requests of one scheme through another transport.
type forked struct {
	http.RoundTripper
	scheme string
	other  http.RoundTripper
}

func (f *forked) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == f.scheme {
		return f.other.RoundTrip(req)
	}
	return f.RoundTripper.RoundTrip(req)
}

// get asks one mirror for the missing bytes of p, and verifies the file.
func (r *run) get(ctx context.Context, m *mirror, retries int, p *part, show *progress) error {
	if m.download == nil {
		m.download = r.newDownload(m, p, show)
	}
	m.client.Retries = retries
	defer show.Finish()
	return m.download.Run(ctx)
}

func (r *run) newDownload(m *mirror, p *part, show *progress) *transfer.Download {
	m.client = &transfer.Client{
		HTTP:    &http.Client{Transport: r.transport, CheckRedirect: m.checkRedirect},
		Backoff: r.opts.Backoff, Now: r.opts.Limits.Now,
	}
	return &transfer.Download{
		Part: p, What: "file", Size: -1, Max: r.opts.MaxFile,
		Ask: func(ctx context.Context, offset int64) (*http.Response, error) {
			req, err := m.request(ctx, offset, p.meta)
			if err != nil {
				return nil, err
			}
			return m.client.Do(req)
		},
		Begin: func(resp *http.Response, from, size int64) {
			show.Start(m.show, from, size)
			if from == 0 {
				p.meta = newMeta(m.url.String(), resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"))
				p.temp.writeMeta(p.want, p.meta)
			}
		},
		Advance: func(n int64) {
			r.bytes.Add(max(n, 0))
			show.Add(n)
		},
	}
}

// checkRedirect allows redirects from https to http, because real mirrors use them and
// the hash protects the bytes. It refuses one with credentials, which would be sent
// unencrypted.
func (m *mirror) checkRedirect(req *http.Request, via []*http.Request) error {
	if err := transfer.CheckRedirect(req, via); err != nil {
		return err
	}
	if m.url.User != nil && via[0].URL.Scheme == "https" && req.URL.Scheme == "http" {
		return &transfer.RedirectError{Reason: "from https to http with credentials"}
	}
	m.slot.Visit(transfer.Hostname(req.URL))
	return nil
}

// download fills p from the mirrors. The error is a transfer.Attempts, one of this
// machine, or ctx's cause.
func (r *run) download(ctx context.Context, g *group, p *part, show *progress) error {
	var slot *transfer.Slot
	defer func() { slot.Release() }()
	var mirrors []*mirror
	if r.opts.First != nil {
		mirrors = append(mirrors, r.opts.First.mirror(g.hash))
	}
	for _, raw := range g.mirrors {
		mirrors = append(mirrors, newMirror(raw))
	}
	rounds := r.rounds(g, p, mirrors)
	rounds.Ask = func(ctx context.Context, m *mirror, retries int) (err error) {
		if slot, err = r.slots.Acquire(ctx, transfer.Hostname(m.url), g.seq, slot); err != nil {
			return err
		}
		m.slot = slot
		return r.get(ctx, m, retries, p, show)
	}
	rounds.Rest = func() time.Duration { slot.Release(); return 0 }
	_, found, err := rounds.Run(ctx)
	if found || err != nil {
		return err
	}
	return attemptsOf(mirrors, rounds.Said)
}

func (r *run) rounds(g *group, p *part, mirrors []*mirror) *transfer.Rounds[*mirror] {
	source := g.wants[0].Source
	rounds := &transfer.Rounds[*mirror]{
		Retries: r.opts.Retries, Backoff: r.opts.Backoff, Size: p.Size,
		Order: func() []*mirror { return mirrors },
		Said:  map[*mirror]error{},
		GaveUp: func(m *mirror, err error, again bool) {
			r.opts.Log.Warn("giving a mirror up", zap.String("source", source.Name), zap.String("mirror", m.show), zap.Error(err))
			if !again {
				r.status.Tell(func(s Status) { s.Fail(source, m.show, err) })
			}
		},
	}
	for _, m := range mirrors {
		if m.err != nil {
			rounds.Said[m] = m.err
		}
	}
	return rounds
}

func attemptsOf(mirrors []*mirror, said map[*mirror]error) error {
	var all transfer.Attempts
	for _, m := range mirrors {
		all = append(all, transfer.Attempt{Place: m.show, Reason: said[m]})
	}
	if len(all) == 0 {
		all = transfer.Attempts{{Reason: errNoMirrors}}
	}
	return all
}
