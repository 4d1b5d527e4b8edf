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
	"google.golang.org/grpc/metadata"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// Job is the build of one output: the request, and the files and images that it uses.
type Job struct {
	Ref     graph.Ref
	Request graph.Request
	Files   []graph.File // the definition's snapshot
	Sources []SourceFile
	// Deps has the layouts of Request.Contexts, by output name.
	Deps map[string]cache.Layout
	// Images has the images of Request.Images, by name.
	Images  map[string]cache.Pulled
	NoCache bool // run every step, even if the engine has its result
	Offline bool // run every RUN without a network
	// Into receives the blobs of the result; the caller commits it. It is nil if the
	// result stays in the hub.
	Into *cache.Staging
	// HubTag is the tag under which the engine pushes the result to the hub of
	// [Options], from which it then takes Deps too; "": both go through the session.
	HubTag string
	// Log receives the engine's plain progress and the output of every RUN, unescaped.
	Log io.Writer
	// Step, if not nil, is called with the name of each step that starts.
	Step func(name string)

	// Span is the span that the engine's own spans belong below, as a traceparent of the W3C;
	// "" if there is no trace.
	Span string

	trusted bool   // CheckArchives is not needed
	disk    string // a path on the engine's disk, if the engine is on this machine
}

// Image is the result of a build: the descriptor of its image index and the index's
// annotations in index.json.
type Image struct {
	Index       ocispecs.Descriptor
	Annotations map[string]string
	// Cached means that at least one RUN came from the engine's cache, so that the
	// build took less time than without.
	Cached bool
	// Peak is the most memory that one RUN was seen to use, in bytes; 0 if unknown.
	Peak int64
	// Manifests are the images of an index that stays in the hub, in its order.
	Manifests []oci.Manifest
}

// Build runs job and puts the result into job.Into. The error of a failed step is a
// *BuildError. If a source could not be read, or changed since it was verified, the error
// is a *ReadError.
func (b *Builder) Build(ctx context.Context, job Job) (*Image, error) {
	if job.Span != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", job.Span)
	}
	if err := b.CheckArchives(ctx, job); err != nil {
		return nil, err
	}
	b.builds.RLock()
	defer b.builds.RUnlock()
	deps, err := b.contentsOf(job)
	if err != nil {
		return nil, err
	}
	if err := checkTriggers(b.store, job); err != nil {
		return nil, err
	}
	job.disk = b.conn.ContentDir
	b.blobs.offer(deps.blobs)
	in, release, err := b.prepare(job, deps)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, stop := whileReadable(ctx, in.contexts...)
	defer stop()
	img, err := b.solveOnce(ctx, in)
	for _, empty := range []func(context.Context) error{b.empty, b.emptyAlone} {
		wrong := cacheDamage(err)
		if wrong == "" {
			break
		}
		if _, ours := b.Engine.(Managed); !ours { // others build on its cache too
			return nil, &EngineError{EngineName(b.Engine), wrong + " (" + RootMessage(err) + ")",
				"empty its cache: buildctl prune --all, or docker builder prune --all"}
		}
		b.log.Warn("emptying the engine's cache: "+wrong, zap.Error(err))
		if job.Step != nil {
			job.Step("emptying the engine's cache, once nothing else uses it: " + wrong)
		}
		if err := empty(ctx); err != nil {
			return nil, fmt.Errorf("emptying the engine's cache (%s): %w", wrong, err)
		}
		img, err = b.solveOnce(ctx, in)
	}
	return img, err
}

// solveInputs are the inputs of the request to the engine for a job.
type solveInputs struct {
	job      Job
	deps     contents
	attrs    map[string]string // of the frontend
	input    llb.State         // the main context
	contexts []*servedContext
}

// prepare makes the contexts of job readable until release is called.
func (b *Builder) prepare(job Job, deps contents) (_ solveInputs, release func(), err error) {
	main, err := newContext(job.Files, job.Sources, "fetch")
	if err != nil {
		return solveInputs{}, nil, err
	}
	fetched, err := newContext(nil, job.Sources, "")
	if err != nil {
		return solveInputs{}, nil, err
	}
	excludes, err := ignored(job.Files)
	if err != nil {
		return solveInputs{}, nil, fmt.Errorf("reading %s: %w", job.Request.Context, err)
	}
	mainName, mainServed, releaseMain := b.dirs.serve("context", main)
	fetchName, fetchServed, releaseFetch := b.dirs.serve("fetch", fetched)
	return solveInputs{
		job: job, deps: deps, attrs: frontendAttrs(job, b.depsFrom(job), mainName, fetchName),
		// Passed as an input rather than as the local source "context": that name is
		// fixed, and all builds share one session.
		input: llb.Local(mainName, llb.SessionID(b.session.ID()), llb.SharedKeyHint(mainName),
			llb.ExcludePatterns(excludes), llb.WithCustomName("[internal] load build context")),
		contexts: []*servedContext{mainServed, fetchServed},
	}, func() { releaseMain(); releaseFetch() }, nil
}

// empty empties the engine's cache. The engine shares blobs with out/, so a blob that was
// damaged there is damaged in the cache too, which would use it again and again.
func (b *Builder) empty(ctx context.Context) error {
	return b.conn.Client.Prune(ctx, nil, client.PruneAll)
}

// emptyAlone calls empty when no other build of this sx runs: an engine does not remove
// results that are in use.
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

// solveOnce sends the request once and collects the result.
func (b *Builder) solveOnce(ctx context.Context, in solveInputs) (*Image, error) {
	b.link(in.deps.blobs)
	began := time.Now()
	w := &watch{job: in.job}
	resp, err := b.solve(ctx, w, in.attrs, in.input)
	for _, s := range in.contexts {
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
	img, err := b.collect(ctx, in.job, in.deps, resp.ExporterResponse)
	if err == nil {
		img.Cached, img.Peak = w.cached, w.peak
	}
	return img, err
}

// frontendAttrs returns the request as options of the dockerfile frontend, like buildx
// (docker/buildx: build/opt.go). From is where the dependencies are.
func frontendAttrs(job Job, from, mainName, fetchName string) map[string]string {
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
		attrs["context:"+name] = fmt.Sprintf("%s@%s", from, root(l))
	}
	// The engine finds an image of another registry by its name in the Containerfile,
	// without asking a registry.
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

// root returns the digest by which the engine finds a layout: that of its image index, or
// of the manifest if `docker save` wrote no index.
func root(l cache.Layout) oci.Digest {
	if l.OneLevel {
		return l.Manifests[0].Digest
	}
	return l.Index
}

// exporterAttrs returns the exporter's part of the request (upstream: src/targets.py,
// --output).
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

// export returns where the engine puts the result.
func (b *Builder) export(job Job) client.ExportEntry {
	attrs := exporterAttrs(job.Request)
	if job.HubTag == "" {
		return client.ExportEntry{Type: client.ExporterOCI, Attrs: attrs, OutputStore: b.sink}
	}
	delete(attrs, "tar")
	attrs["name"] = b.hub.Repository() + ":" + job.HubTag
	attrs["push"], attrs["store"] = "true", "false"
	attrs["oci-mediatypes"] = "true" // older engines default to Docker's, which are other bytes
	if b.hub.PlainHTTP() {
		attrs["registry.insecure"] = "true"
	}
	return client.ExportEntry{Type: client.ExporterImage, Attrs: attrs}
}

func (b *Builder) solve(ctx context.Context, w *watch, attrs map[string]string, main llb.State) (*client.SolveResponse, error) {
	opt := client.SolveOpt{
		Frontend:              "dockerfile.v0",
		FrontendAttrs:         attrs,
		FrontendInputs:        map[string]llb.State{"context": main},
		SharedSession:         b.session,
		SessionPreInitialized: true,
		Internal:              true, // no build history: sx has its own records
		Exports:               []client.ExportEntry{b.export(w.job)},
	}
	status := make(chan *client.SolveStatus)
	var resp *client.SolveResponse
	eg, ectx := errgroup.WithContext(ctx)
	eg.Go(func() (err error) {
		resp, err = b.conn.Client.Solve(ectx, nil, opt, status)
		return err
	})
	// The status channel must be drained until it closes, even after cancellation, or
	// Solve hangs: so drain's context is not cancelled.
	eg.Go(func() error { return w.drain(context.WithoutCancel(ctx), status) })
	return resp, eg.Wait()
}

// collect moves the result's blobs into the staging folder, where each is hashed. It
// fails for layers whose timestamps were not rewritten, for which BuildKit only warns.
func (b *Builder) collect(ctx context.Context, job Job, deps contents, resp map[string]string) (*Image, error) {
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
	var from results = &collector{sink: b.sink, into: job.Into}
	if job.HubTag != "" {
		from = &hubResults{ctx: ctx, hub: b.hub, job: job, store: b.store}
	}
	if err := takeIndex(from, index, job.Request.Platforms, deps.layers); err != nil {
		return nil, err
	}
	if job.HubTag != "" {
		return b.hubImage(ctx, job, index)
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
