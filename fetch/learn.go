package fetch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Learnt is a file whose hash was not known.
type Learnt struct {
	Source          // with the file's hash
	Size   int64    // bytes
	From   []string // the mirrors that sent it, without credentials
	Failed transfer.Attempts
	Plain  bool // all of From are reached by http, so that anyone on the way may have chosen the file
}

// Learn downloads files whose hashes are not known. It asks all mirrors of a source:
// those that answer must send the same bytes. A file of another kind than its name
// says, such as a web page, is refused. Source.Hash is ignored.
//
// With keep, the files get their final names once all have been downloaded, and replace
// other files there; without it nothing is written. The error is an *Error with the
// answer of each mirror, or ctx's cause; then nothing is kept.
func Learn(ctx context.Context, sources []Source, keep bool, opts Options) ([]Learnt, error) {
	for _, s := range sources {
		if err := checkPath(s.Path); err != nil {
			return nil, fmt.Errorf("source %q: %w", s.Name, err)
		}
	}
	opts.Offline = !keep // newRun then makes no folder for partial files
	r, err := newRun(opts, len(sources))
	if err != nil {
		return nil, err
	}
	defer r.close()
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	r.status.Tell(func(s Status) { s.Begin(len(sources)) })
	defer r.status.Tell(Status.End)

	all := learners(r, sources, keep)
	defer func() {
		for _, l := range all {
			l.close()
		}
	}()
	var workers errgroup.Group
	workers.SetLimit(r.window())
	for _, l := range all {
		workers.Go(func() error {
			if err := l.learn(ctx); err != nil {
				r.failed(ctx, err, l.want)
			}
			return nil
		})
	}
	workers.Wait() // failed records errors
	if err := r.err(ctx); err != nil {
		return nil, err
	}
	if err := keepAll(ctx, r, all, keep); err != nil {
		return nil, err
	}
	return learnt(sources, all), nil
}

// learners returns one learner for each path: two sources may name one file.
func learners(r *run, sources []Source, keep bool) (all []*learner) {
	for i, s := range sources {
		at := slices.IndexFunc(all, func(l *learner) bool { return l.Path == s.Path })
		if at < 0 {
			all = append(all, &learner{run: r, want: want{Source: s, index: i}, keep: keep})
			continue
		}
		for _, m := range s.Mirrors {
			if l := all[at]; !slices.Contains(l.Mirrors, m) {
				l.Mirrors = append(slices.Clip(l.Mirrors), m)
			}
		}
	}
	return all
}

func keepAll(ctx context.Context, r *run, all []*learner, keep bool) error {
	for _, l := range all {
		if keep {
			if err := r.finish(l.want, l.file.finish); err != nil {
				r.failed(ctx, err, l.want)
				continue
			}
		}
		r.had(l.want, Fetched)
	}
	return r.err(ctx)
}

func learnt(sources []Source, all []*learner) (out []Learnt) {
	for _, s := range sources {
		l := all[slices.IndexFunc(all, func(l *learner) bool { return l.Path == s.Path })]
		s.Hash = l.sum
		out = append(out, Learnt{Source: s, Size: l.size, From: l.from, Failed: l.refused, Plain: l.plain})
	}
	return out
}

// learner learns one file.
type learner struct {
	*run
	want
	keep bool

	file    *part // of the first mirror that answered, with keep
	sum     graph.Hash
	size    int64
	from    []string
	plain   bool
	refused transfer.Attempts // by mirrors that sent no file
}

func (l *learner) close() {
	if l.file != nil {
		if !l.file.gone {
			l.file.Reset()
		}
		l.file.close()
	}
}

// learn asks all mirrors.
func (l *learner) learn(ctx context.Context) error {
	if l.keep {
		var err error
		name := graph.Hash(sha256.Sum256([]byte("learn " + l.Path))) // no file has this hash
		if l.file, err = l.temp.openPart(ctx, name, l.waiting(&group{wants: []want{l.want}})); err != nil {
			return err
		}
	}
	l.plain = true
	var sent transfer.Attempts // the file of each mirror, reported if they differ
	differ := false
	for _, raw := range l.Mirrors {
		m := newMirror(raw)
		got, err := l.ask(ctx, m)
		if ctx.Err() != nil || err != nil && transfer.OutcomeOf(err) == transfer.Ends {
			return err
		}
		if err != nil {
			l.refused = append(l.refused, transfer.Attempt{Place: m.show, Reason: err})
			continue
		}
		sent = append(sent, transfer.Attempt{Place: m.show, Reason: transfer.Answerf("sent another file than other mirrors: %d bytes, sha256 %s", got.size, got.hash())})
		if len(l.from) == 0 {
			l.sum, l.size = got.hash(), got.size
		}
		differ = differ || got.hash() != l.sum
		l.from = append(l.from, m.show)
		l.plain = l.plain && m.url.Scheme == "http"
	}
	switch {
	case differ:
		return append(sent, l.refused...)
	case len(l.Mirrors) == 0:
		return transfer.Attempts{{Reason: errNoMirrors}}
	case len(l.from) == 0:
		return l.refused
	}
	return nil
}

// ask downloads the file from one mirror.
func (l *learner) ask(ctx context.Context, m *mirror) (*unknown, error) {
	if m.err != nil {
		return nil, m.err
	}
	u := &unknown{sum: sha256.New()}
	if len(l.from) == 0 {
		u.file = l.file
	}
	var slot *transfer.Slot
	defer func() { slot.Release() }()
	download := l.download(m, u)
	rounds := &transfer.Rounds[*mirror]{
		Retries: l.opts.Retries, Backoff: l.opts.Backoff, Size: u.Size,
		Order: func() []*mirror { return []*mirror{m} },
		Rest:  func() time.Duration { slot.Release(); return 0 },
		Said:  map[*mirror]error{},
		GaveUp: func(m *mirror, err error, again bool) {
			l.opts.Log.Warn("giving a mirror up", zap.String("source", l.Name), zap.String("mirror", m.show), zap.Error(err))
			if !again {
				l.status.Tell(func(s Status) { s.Fail(l.Source, m.show, err) })
			}
		},
		Ask: func(ctx context.Context, m *mirror, retries int) (err error) {
			if slot, err = l.slots.Acquire(ctx, transfer.Hostname(m.url), l.index, slot); err != nil {
				return err
			}
			m.slot, m.client.Retries = slot, retries
			return download(ctx)
		},
	}
	_, found, err := rounds.Run(ctx)
	if !found && err == nil {
		err = rounds.Said[m]
	}
	return u, err
}

// download returns a function that downloads the file once, from its beginning: without
// a hash nothing shows that two halves are of one file.
func (l *learner) download(m *mirror, u *unknown) func(context.Context) error {
	m.client = &transfer.Client{
		HTTP:    &http.Client{Transport: l.transport, CheckRedirect: checkLearning(m)},
		Backoff: l.opts.Backoff, Now: l.opts.Limits.Now,
	}
	show := &progress{Status: l.status, Item: l.Source, Now: l.opts.Limits.Now}
	var answer *http.Response
	d := &transfer.Download{
		Part: u, What: "file", Size: -1, Max: l.opts.MaxFile, Unknown: true,
		Ask: func(ctx context.Context, _ int64) (*http.Response, error) {
			req, err := m.request(ctx, 0, meta{})
			if err != nil {
				return nil, err
			}
			return m.client.Do(req)
		},
		Begin: func(resp *http.Response, from, size int64) {
			answer = resp
			show.Start(m.show, from, size)
		},
		Advance: func(n int64) {
			l.bytes.Add(max(n, 0))
			show.Add(n)
		},
	}
	return func(ctx context.Context) error {
		defer show.Finish()
		if err := u.Reset(); err != nil {
			return &transfer.LocalError{Err: err}
		}
		if err := d.Run(ctx); err != nil {
			return err
		}
		return checkKind(l.Path, u, answer)
	}
}

// checkLearning returns the checkRedirect of m that also refuses redirects from https to
// http: no hash protects the bytes.
func checkLearning(m *mirror) func(req *http.Request, via []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if via[0].URL.Scheme == "https" && req.URL.Scheme == "http" {
			return &transfer.RedirectError{Reason: "from https to http, where anyone on the way can choose the bytes, and the hash is not known yet"}
		}
		return m.checkRedirect(req, via)
	}
}

// unknown is a transfer.Part for a file whose hash is not known.
type unknown struct {
	file *part // nil: the bytes are only hashed
	sum  hash.Hash
	size int64
	head []byte // the first bytes
}

// maxHead is how many bytes of a file checkKind looks at.
const maxHead = 512

var _ transfer.Part = (*unknown)(nil)

func (u *unknown) Size() int64      { return u.size }
func (u *unknown) hash() graph.Hash { return graph.Hash(u.sum.Sum(nil)) }

func (u *unknown) Write(p []byte) (int, error) {
	if u.file != nil {
		if n, err := u.file.Write(p); err != nil {
			return n, err
		}
	}
	u.head = append(u.head, p[:min(len(p), maxHead-len(u.head))]...)
	u.size += int64(len(p))
	return u.sum.Write(p)
}

func (u *unknown) Reset() error {
	u.size, u.head = 0, nil
	u.sum.Reset()
	if u.file != nil {
		return u.file.Reset()
	}
	return nil
}

// Check returns the hash as an error, as it is not known to be right.
func (u *unknown) Check() error { return &transfer.HashError{What: "file", Got: u.hash()} }

// kinds are how files with an ending begin.
var kinds = []struct {
	endings []string
	begin   []string
	name    string
}{
	{[]string{".gz", ".tgz", ".crate"}, []string{"\x1f\x8b"}, "gzip"},
	{[]string{".xz", ".txz"}, []string{"\xfd7zXZ\x00"}, "xz"},
	{[]string{".bz2", ".tbz", ".tbz2"}, []string{"BZh"}, "bzip2"},
	{[]string{".zst", ".tzst"}, []string{"\x28\xb5\x2f\xfd"}, "zstd"},
	{[]string{".lz"}, []string{"LZIP"}, "lzip"},
	{[]string{".zip", ".whl", ".jar", ".phar.zip"}, []string{"PK\x03\x04", "PK\x05\x06"}, "zip"},
}

// checkKind refuses a file of another kind than its name says: for a file that they do
// not have, some servers answer with a web page and status 200.
func checkKind(path string, u *unknown, resp *http.Response) error {
	name := strings.ToLower(path)
	ends := func(ending string) bool { return strings.HasSuffix(name, ending) }
	if u.size == 0 {
		return transfer.Answerf("sent an empty file")
	}
	for _, k := range kinds {
		begins := slices.ContainsFunc(k.begin, func(b string) bool { return strings.HasPrefix(string(u.head), b) })
		if slices.ContainsFunc(k.endings, ends) && !begins {
			return transfer.Answerf("sent %d bytes that are not %s: they begin with %.60q%s", u.size, k.name, u.head[:min(len(u.head), 40)], transfer.Hint(resp))
		}
	}
	page := transfer.IsWebPage(resp) || strings.HasPrefix(http.DetectContentType(u.head), "text/html")
	if page && !slices.ContainsFunc([]string{".html", ".htm", ".xhtml", ".xml", ".svg"}, ends) {
		return transfer.Answerf("sent a web page of %d bytes, which begins with %.60q", u.size, u.head[:min(len(u.head), 40)])
	}
	return nil
}
