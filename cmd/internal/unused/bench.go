package unused

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// Bench builds the outputs of one definition again and again, with other Containerfiles.
type Bench struct {
	Builder *buildkit.Builder
	Store   *cache.Store   // for what is built, which is thrown away
	Jobs    []buildkit.Job // of the outputs of the definition, as they stand
	lines   []Line
	want    []string // digests with all lines
	took    time.Duration
}

// containerfile is its path in a definition's folder.
const containerfile = "Containerfile"

// DiffersError means that two builds of an output as it stands have other digests, so that
// no digest says anything about a line.
type DiffersError struct{ Ref graph.Ref }

func (e *DiffersError) Error() string {
	return fmt.Sprintf("two builds of %s differ, so its digest does not tell which lines it needs: sx reproduce %s --runs 2", e.Ref, e.Ref)
}

// Prepare reads the lines, and builds the outputs with all of them: if their digests are not
// known, those of builds here, twice.
func (b *Bench) Prepare(ctx context.Context, known []string) ([]Line, error) {
	data, _ := file(b.Jobs[0].Files)
	var err error
	if b.lines, err = Lines(data); err != nil || len(b.lines) == 0 {
		return nil, err
	}
	began := time.Now()
	if b.want, err = b.build(ctx, b.Jobs); err != nil {
		return nil, err
	}
	b.took = time.Since(began)
	if slices.Equal(b.want, known) {
		return b.lines, nil
	}
	again := slices.Clone(b.Jobs)
	for i := range again {
		again[i].NoCache = true
	}
	second, err := b.build(ctx, again)
	if err != nil {
		return nil, err
	}
	for i, digest := range second {
		if digest != b.want[i] {
			return nil, &DiffersError{b.Jobs[i].Ref}
		}
	}
	return b.lines, nil
}

// Digests returns the digests of the outputs with all lines.
func (b *Bench) Digests() []string { return b.want }

// Limits of a try: a build that lacks something may wait for ever.
const (
	leastTime = 10 * time.Minute
	timesMore = 5
)

// errSlow ends a try that takes much longer than the build with all lines.
var errSlow = errors.New("too slow")

// Try implements [Try].
func (b *Bench) Try(ctx context.Context, without []int) (why string, err error) {
	var lines []Line
	for _, n := range without {
		lines = append(lines, b.lines[n])
	}
	jobs := slices.Clone(b.Jobs)
	for i := range jobs {
		jobs[i].Files = slices.Clone(jobs[i].Files)
		data, n := file(jobs[i].Files)
		jobs[i].Files[n].Data = Without(data, lines)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, max(leastTime, timesMore*b.took), errSlow)
	defer cancel()
	got, err := b.build(bounded, jobs)
	var failed *buildkit.BuildError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(context.Cause(bounded), errSlow):
		return fmt.Sprintf("the build does not end within %s", text.Duration(max(leastTime, timesMore*b.took))), nil
	case errors.As(err, &failed):
		return "the build fails: " + text.Shorten(strings.Join(strings.Fields(failed.Error()), " "), 200), nil
	case err != nil:
		return "", err
	}
	for i, digest := range got {
		if digest != b.want[i] {
			return fmt.Sprintf("the digest of %s changes", b.Jobs[i].Ref), nil
		}
	}
	return "", nil
}

// file returns the Containerfile of a definition's files, and its place.
func file(files []graph.File) ([]byte, int) {
	n := slices.IndexFunc(files, func(f graph.File) bool { return f.Path == containerfile })
	return files[n].Data, n // a definition without one is broken
}

// build builds jobs at once and returns their digests.
func (b *Bench) build(ctx context.Context, jobs []buildkit.Job) ([]string, error) {
	digests := make([]string, len(jobs))
	eg, ctx := errgroup.WithContext(ctx)
	for i, job := range jobs {
		eg.Go(func() (err error) {
			digests[i], err = b.one(ctx, job)
			return err
		})
	}
	return digests, eg.Wait()
}

// tries numbers builds, whose results must not meet.
var tries atomic.Int64

func (b *Bench) one(ctx context.Context, job buildkit.Job) (digest string, err error) {
	if job.Into, err = b.Store.Stage(fmt.Sprintf("sx-try%d", tries.Add(1))); err != nil {
		return "", err
	}
	defer job.Into.Close()
	job.Log = io.Discard
	img, err := b.Builder.Build(ctx, job)
	if err != nil {
		return "", err
	}
	return img.Index.Digest.String(), nil
}
