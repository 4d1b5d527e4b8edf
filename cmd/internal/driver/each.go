package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// DifferError reports that engines built an output with different results. None of them is
// in out/.
type DifferError struct {
	Ref     graph.Ref
	Results []EachResult // of each engine
}

// EachResult is what one of several engines built.
type EachResult struct {
	Engine   fleet.Member
	Manifest oci.Digest // the first image's
	Path     string     // of the layout that was kept
}

func (e *DifferError) Error() string {
	var said []string
	for _, r := range e.Results {
		said = append(said, fmt.Sprintf("%s built %s", r.Engine, r.Manifest))
	}
	return "the engines do not agree: " + strings.Join(said, ", ") + "; out/ is as it was"
}

// Apart returns two results that differ.
func (e *DifferError) Apart() (a, b EachResult) {
	a = e.Results[0]
	for _, b = range e.Results {
		if b.Manifest != a.Manifest {
			break
		}
	}
	return a, b
}

// OnEach returns why a target with a record must be built, for [plan.Options].Force: an
// engine of a run with [Options].OnEach did not build it yet.
func OnEach(opts Options) func(cache.Record) string {
	if !opts.OnEach {
		return nil
	}
	return func(rec cache.Record) string {
		for _, m := range opts.Engines {
			here := recordedEngine(m)
			if !slices.ContainsFunc(rec.Engines(), func(e cache.EngineInfo) bool { return verdict.SameEngine(e, here) }) {
				return fmt.Sprintf("--on-each: %s has not built it yet", m)
			}
		}
		return ""
	}
}

// notOnEach returns why the build that rec is about is not what this run asks of s.
func (r *run) notOnEach(s *plan.Step, rec cache.Record) string {
	force := OnEach(r.opts)
	if force == nil || !slices.Contains(r.targets, s.Output.Ref) {
		return ""
	}
	return force(rec)
}

// eachCapacity returns c with no more jobs and memory than each engine allows.
func eachCapacity(c schedule.Capacity, members []fleet.Member) schedule.Capacity {
	for _, m := range members {
		if m.Jobs > 0 && (c.Jobs == 0 || m.Jobs < c.Jobs) {
			c.Jobs = m.Jobs
		}
		if m.Memory > 0 && (c.Memory == 0 || m.Memory < c.Memory) {
			c.Memory = m.Memory
		}
	}
	return c
}

// eachEngine stands for several engines in messages.
type eachEngine []fleet.Member

func (e eachEngine) Kind() string { return "each" }

func (e eachEngine) String() string {
	var names []string
	for _, m := range e {
		names = append(names, m.Title())
	}
	return "each of " + strings.Join(names, ", ")
}

// Connect implements [buildkit.Engine]. Only the members are connected to.
func (e eachEngine) Connect(context.Context) (*buildkit.Conn, error) {
	return nil, errors.New("several engines have no one connection")
}

// connectEach returns a connection to all engines at once, which is lost if one of them is.
func connectEach(t *tree.Tree, opts Options, warn func(string)) *connection {
	c := newConnection(t, fleet.Member{Engine: eachEngine(opts.Engines)}, opts, warn)
	var members []*connection
	for _, m := range opts.Engines {
		one := newConnection(t, m, opts, warn)
		one.strict = true
		members = append(members, one)
	}
	c.dial = func(ctx context.Context) (builder, error) {
		b := &eachBuilder{store: t.Store, members: make([]*engine, len(members))}
		var opening errgroup.Group
		for i, one := range members {
			opening.Go(func() (err error) {
				b.members[i], err = one.open(ctx)
				return err
			})
		}
		if err := opening.Wait(); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		return b, nil
	}
	return c
}

// eachBuilder builds on each of its engines, two or more, and requires equal results.
type eachBuilder struct {
	store   *cache.Store
	members []*engine
}

func (b *eachBuilder) infos(opts Options) (all []cache.EngineInfo) {
	for _, m := range b.members {
		all = append(all, m.info(opts))
	}
	return all
}

// What follows was asked of each member when it was opened.

func (b *eachBuilder) Kind() string                                { return "each" }
func (b *eachBuilder) Version(context.Context) (string, error)     { return b.members[0].version, nil }
func (b *eachBuilder) Snapshotter(context.Context) (string, error) { return buildkit.Overlayfs, nil }
func (b *eachBuilder) Elsewhere() bool                             { return true }
func (b *eachBuilder) Away(err error) error                        { return err }

func (b *eachBuilder) Probe(context.Context, *cache.Staging) (oci.Digest, error) {
	return oci.ParseDigest(b.members[0].probe)
}

func (b *eachBuilder) Sent() (n int64) {
	for _, m := range b.members {
		n += m.Sent()
	}
	return n
}

// CheckPlatforms returns the first error of an engine, with its name.
func (b *eachBuilder) CheckPlatforms(ctx context.Context, platforms []string) error {
	for _, m := range b.members {
		if err := m.CheckPlatforms(ctx, platforms); err != nil {
			return fmt.Errorf("%s: %w", m.to, err)
		}
	}
	return nil
}

func (b *eachBuilder) Lost(ctx context.Context) bool {
	return slices.ContainsFunc(b.members, func(m *engine) bool { return m.Lost(ctx) })
}

func (b *eachBuilder) Close() error {
	var errs []error
	for _, m := range b.members {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// Build builds on all engines at the same time. If the results differ, it keeps them and
// the error is a *DifferError; an error of one engine ends the builds on the others.
func (b *eachBuilder) Build(ctx context.Context, job buildkit.Job) (*buildkit.Image, error) {
	if err := b.store.DropKept(job.Ref.String()); err != nil {
		return nil, err
	}
	jobs, images := make([]buildkit.Job, len(b.members)), make([]*buildkit.Image, len(b.members))
	logs := &sharedLog{w: job.Log}
	all, ctx := errgroup.WithContext(ctx)
	for i, m := range b.members {
		jobs[i] = job
		if i > 0 {
			into, err := b.store.Stage(job.Ref.String())
			if err != nil {
				return nil, err
			}
			defer into.Close()
			jobs[i].Into, jobs[i].Step = into, func(string) {}
		}
		log := logs.of(m.to.Title())
		jobs[i].Log = log
		all.Go(func() (err error) {
			defer log.flush()
			if images[i], err = m.Build(ctx, jobs[i]); err != nil {
				return fmt.Errorf("on %s: %w", m.to, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	for _, img := range images {
		if img.Index.Digest != images[0].Index.Digest {
			return nil, b.keep(jobs, images)
		}
	}
	for _, img := range images {
		images[0].Cached, images[0].Peak = images[0].Cached || img.Cached, max(images[0].Peak, img.Peak)
	}
	return images[0], nil
}

// keep keeps results that differ, and returns the *DifferError about them.
func (b *eachBuilder) keep(jobs []buildkit.Job, images []*buildkit.Image) error {
	differ := &DifferError{Ref: jobs[0].Ref}
	for i, img := range images {
		index, err := oci.ParseDigest(img.Index.Digest.String())
		if err != nil {
			return err
		}
		top := oci.Descriptor{MediaType: img.Index.MediaType, Digest: index, Size: img.Index.Size}
		l, path, err := jobs[i].Into.Keep(context.Background(), fmt.Sprintf("%d-%s", i+1, folderName(b.members[i].to.Title())), top, img.Annotations)
		if err != nil {
			return fmt.Errorf("the engines do not agree on %s, and keeping the results failed: %w", differ.Ref, err)
		}
		differ.Results = append(differ.Results, EachResult{b.members[i].to, l.Digest(), path})
	}
	return differ
}

// folderName returns a name with only letters, digits, points and lines in it.
func folderName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' {
			return c
		}
		return '-'
	}, name)
	return name[:min(len(name), 64)]
}

// sharedLog is the log of a build that several engines run: each line begins with the
// engine's name.
type sharedLog struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *sharedLog) of(engine string) *engineLog {
	return &engineLog{log: l, prefix: []byte("[" + text.Field(engine) + "] ")}
}

type engineLog struct {
	log    *sharedLog
	prefix []byte
	line   []byte // that has not ended yet
}

// maxLogLine is how much of a line without an end is held back.
const maxLogLine = 64 << 10

func (l *engineLog) Write(data []byte) (int, error) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	l.line = append(l.line, data...)
	for {
		end := bytes.IndexByte(l.line, '\n')
		if end < 0 && len(l.line) < maxLogLine {
			return len(data), nil
		}
		if end < 0 {
			end = len(l.line) - 1
		}
		if err := l.write(l.line[:end+1]); err != nil {
			return 0, err
		}
		l.line = l.line[end+1:]
	}
}

func (l *engineLog) write(line []byte) error {
	_, err := l.log.w.Write(append(slices.Clone(l.prefix), line...))
	return err
}

// flush writes a last line that has no end.
func (l *engineLog) flush() {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	if len(l.line) > 0 {
		l.write(append(l.line, '\n'))
		l.line = nil
	}
}
