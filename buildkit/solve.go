package buildkit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// Job is the build of one output: the request and the bytes it names.
type Job struct {
	Ref     graph.Ref
	Request graph.Request
	Files   []graph.File // the definition's snapshot
	Sources []SourceFile
	// Deps are the layouts behind Request.Contexts, by output name.
	Deps map[string]cache.Layout
	// Images are those behind Request.Images, by name.
	Images  map[string]cache.Pulled
	NoCache bool // run every step even where the engine has its result
	Offline bool // no RUN has a network
	// Into receives the blobs of the result; the caller commits it.
	Into *cache.Staging
	// Log receives the engine's plain progress and the output of every RUN,
	// exactly as the build wrote it: escaping is the caller's.
	Log io.Writer
	// Step, when set, is called with the name of each step that starts.
	Step func(name string)

	trusted bool   // nothing in it is unpacked unasked
	disk    string // a path on the engine's disk, where that is this machine's
}

// Image is what a build gave: the descriptor of its image index and the
// annotations that index.json carries for it.
type Image struct {
	Index       ocispecs.Descriptor
	Annotations map[string]string
	// Cached says that the engine had the result of some RUN, so that the build
	// took less than it might.
	Cached bool
	// Peak is the most memory that one RUN was seen to need, in bytes; 0 where
	// the engine does not tell.
	Peak int64
}

// Build runs job and fills job.Into. A failed step is a *BuildError; a source that
// could not be read as it was verified is a *ReadError, whatever the engine says.
func (b *Builder) Build(ctx context.Context, job Job) (*Image, error) {
	if err := b.CheckArchives(ctx, job); err != nil {
		return nil, err
	}
	b.builds.RLock()
	defer b.builds.RUnlock()
	deps, err := b.contents(job.Deps, job.Images)
	if err != nil {
		return nil, err
	}
	if err := b.checkTriggers(job); err != nil {
		return nil, err
	}
	job.disk = b.conn.ContentDir
	b.blobs.offer(deps.blobs)
	q, release, err := b.question(job, deps)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, stop := whileReadable(ctx, q.contexts...)
	defer stop()
	img, err := b.run(ctx, q)
	for _, empty := range []func(context.Context) error{b.empty, b.emptyAlone} {
		if !Damaged(err) {
			break
		}
		if _, ours := b.Engine.(Managed); !ours { // others build on its cache too
			return nil, &EngineError{EngineName(b.Engine), "a blob in its cache is damaged (" + RootMessage(err) + ")",
				"empty its cache: buildctl prune --all, or docker builder prune --all"}
		}
		b.log.Warn("emptying the engine's cache, in which a blob is damaged", zap.Error(err))
		if job.Step != nil {
			job.Step("making the engine forget a damaged blob, once nothing else uses it")
		}
		if err := empty(ctx); err != nil {
			return nil, fmt.Errorf("emptying the engine's cache, in which a blob is damaged: %w", err)
		}
		img, err = b.run(ctx, q)
	}
	return img, err
}

// question is what the engine is asked for a job.
type question struct {
	job      Job
	deps     contents
	attrs    map[string]string // of the frontend
	input    llb.State         // the main context
	contexts []*served
}

// question makes the contexts of job readable until release is called.
func (b *Builder) question(job Job, deps contents) (_ question, release func(), err error) {
	main, err := newContext(job.Files, job.Sources, "fetch")
	if err != nil {
		return question{}, nil, err
	}
	fetched, err := newContext(nil, job.Sources, "")
	if err != nil {
		return question{}, nil, err
	}
	excludes, err := ignored(job.Files)
	if err != nil {
		return question{}, nil, fmt.Errorf("reading %s: %w", job.Request.Context, err)
	}
	mainName, mainServed, releaseMain := b.dirs.serve("context", main)
	fetchName, fetchServed, releaseFetch := b.dirs.serve("fetch", fetched)
	return question{
		job: job, deps: deps, attrs: frontendAttrs(job, mainName, fetchName),
		// As an input and not as the local source "context", because that name is
		// fixed and all builds share one session.
		input: llb.Local(mainName, llb.SessionID(b.session.ID()), llb.SharedKeyHint(mainName),
			llb.ExcludePatterns(excludes), llb.WithCustomName("[internal] load build context")),
		contexts: []*served{mainServed, fetchServed},
	}, func() { releaseMain(); releaseFetch() }, nil
}

// empty makes the engine forget what it can. It shares its blobs with out/, so what
// was damaged there is damaged here: it would answer with it for ever.
func (b *Builder) empty(ctx context.Context) error {
	return b.conn.Client.Prune(ctx, nil, client.PruneAll)
}

// emptyAlone is empty once no other build of this sx uses what is damaged: an engine
// keeps what is in use.
func (b *Builder) emptyAlone(ctx context.Context) error {
	b.builds.RUnlock()
	defer b.builds.RLock()
	b.builds.Lock()
	defer b.builds.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return b.empty(ctx)
}

// run asks the engine once and takes what it answers.
func (b *Builder) run(ctx context.Context, q question) (*Image, error) {
	b.link(q.deps.blobs)
	began := time.Now()
	w := &watch{job: q.job}
	resp, err := b.solve(ctx, w, q.attrs, q.input)
	for _, s := range q.contexts {
		if failure := s.failure(); failure != nil {
			return nil, failure
		}
	}
	if err != nil && ctx.Err() == nil && b.sink.full.Load() && strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return nil, fmt.Errorf("receiving the result: %w", syscall.ENOSPC)
	}
	if err != nil {
		return nil, b.explain(ctx, w, began, err)
	}
	img, err := b.collect(q.job, q.deps, resp.ExporterResponse)
	if err == nil {
		img.Cached, img.Peak = w.cached, w.peak
	}
	return img, err
}

// frontendAttrs spells the request as the dockerfile frontend's options, as
// buildx does (docker/buildx: build/opt.go).
func frontendAttrs(job Job, mainName, fetchName string) map[string]string {
	r := job.Request
	attrs := map[string]string{
		"filename":      "Containerfile",
		"dockerfilekey": mainName,
		"context:fetch": "local:" + fetchName,
		"platform":      strings.Join(r.Platforms, ","),
		"ulimit":        strings.Join(r.Ulimits, ","),
	}
	if r.Target != "" {
		attrs["target"] = r.Target
	}
	for k, v := range r.BuildArgs {
		attrs["build-arg:"+k] = v
	}
	for name := range r.Contexts {
		l := job.Deps[strings.TrimPrefix(name, "stagex/")]
		attrs["context:"+name] = fmt.Sprintf("oci-layout://%s@%s", storeID, root(l))
	}
	// The engine finds an image of another registry by the name in the file, and
	// asks no registry for it.
	for name, image := range job.Images {
		attrs["context:"+name] = fmt.Sprintf("oci-layout://%s@%s", storeID, image.Root)
	}
	if job.NoCache {
		attrs["no-cache"] = ""
	}
	if job.Offline {
		attrs["force-network-mode"] = "none"
	}
	return attrs
}

// root is the digest by which the engine finds the whole layout: its image
// index, or the manifest where `docker save` left none.
func root(l cache.Layout) oci.Digest {
	if l.OneLevel {
		return l.Manifests[0].Digest
	}
	return l.Index
}

// exporterAttrs spells the exporter's part of the request (upstream:
// src/targets.py, --output).
func exporterAttrs(r graph.Request) map[string]string {
	attrs := map[string]string{
		"name":              strings.Join(r.Tags, ","),
		"tar":               "false",
		"rewrite-timestamp": "true",
		"force-compression": "true",
	}
	for k, v := range r.Annotations {
		attrs["annotation."+k] = v
	}
	return attrs
}

func (b *Builder) solve(ctx context.Context, w *watch, attrs map[string]string, main llb.State) (*client.SolveResponse, error) {
	opt := client.SolveOpt{
		Frontend:              "dockerfile.v0",
		FrontendAttrs:         attrs,
		FrontendInputs:        map[string]llb.State{"context": main},
		SharedSession:         b.session,
		SessionPreInitialized: true,
		Internal:              true, // no build history: records are ours
		Exports: []client.ExportEntry{{
			Type:        client.ExporterOCI,
			Attrs:       exporterAttrs(w.job.Request),
			OutputStore: b.sink,
		}},
	}
	status := make(chan *client.SolveStatus)
	var resp *client.SolveResponse
	eg, ectx := errgroup.WithContext(ctx)
	eg.Go(func() (err error) {
		resp, err = b.conn.Client.Solve(ectx, nil, opt, status)
		return err
	})
	// The status channel must be drained until it closes, also after
	// cancellation, or Solve hangs: so this one has no context.
	eg.Go(func() error { return w.drain(context.WithoutCancel(ctx), status) })
	return resp, eg.Wait()
}

// collect moves the result's blobs into the staging folder, where each is
// hashed, and checks what BuildKit only warns about.
func (b *Builder) collect(job Job, deps contents, resp map[string]string) (*Image, error) {
	raw, err := base64.StdEncoding.DecodeString(resp["containerimage.descriptor"])
	if err != nil {
		return nil, fmt.Errorf("reading the engine's answer: %w", err)
	}
	var index ocispecs.Descriptor
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("reading the engine's answer: %w", err)
	}
	if index.MediaType != ocispecs.MediaTypeImageIndex {
		return nil, fmt.Errorf("the engine answered with a %q, not with an image index", index.MediaType)
	}
	c := collector{sink: b.sink, into: job.Into}
	var idx ocispecs.Index
	if err := c.read(index, &idx); err != nil {
		return nil, err
	}
	if err := checkAnswer(idx.Manifests, job.Request.Platforms); err != nil {
		return nil, err
	}
	for _, m := range idx.Manifests {
		if err := c.manifest(m, deps.layers); err != nil {
			return nil, err
		}
	}
	annotations := maps.Clone(index.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["io.containerd.image.name"] = "docker.io/" + job.Request.Tags[0]
	_, tag, _ := strings.Cut(job.Request.Tags[0], ":")
	annotations[ocispecs.AnnotationRefName] = tag
	return &Image{Index: index, Annotations: annotations}, nil
}
