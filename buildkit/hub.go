package buildkit

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// Hub is a repository of a registry through which engines exchange images: dependencies
// and results do not pass through this machine. Its methods are safe for concurrent use.
type Hub interface {
	Host() string       // "registry.example:5000"
	Repository() string // "registry.example:5000/hub"
	PlainHTTP() bool    // engines push to it without TLS
	// Token returns a token for an engine that asks for these scopes, for as long as
	// life (0: unknown). Refused lists the scopes that it does not cover.
	Token(ctx context.Context, scopes []string) (token string, life time.Duration, refused []string, err error)
	// Tagged returns the digest that the hub has under a tag.
	Tagged(ctx context.Context, tag string) (oci.Digest, error)
	// Document makes an index, manifest or config a blob of the store. Its bytes come
	// from the hub, and are checked.
	Document(ctx context.Context, d oci.Descriptor) error
	// Has returns an error unless the hub has a layer.
	Has(ctx context.Context, d oci.Descriptor) error
	// Layer makes a layer a blob of the store, checked.
	Layer(ctx context.Context, d oci.Descriptor) error
}

// HubError means that an engine could not exchange images with the hub. Problem says why,
// and what can be done.
type HubError struct {
	Hub     string
	Problem string
}

func (e *HubError) Error() string { return fmt.Sprintf("the hub %s: %s", e.Hub, e.Problem) }

// depsFrom returns the place of job's dependencies, without "@<digest>".
func (b *Builder) depsFrom(job Job) string {
	if job.HubTag != "" {
		return "docker-image://" + b.hub.Repository()
	}
	return "oci-layout://" + storeID
}

// contentsOf returns what job is built from. Of dependencies in the hub the engine may read
// no blob through the session.
func (b *Builder) contentsOf(job Job) (contents, error) {
	c, err := contentsOf(b.store, job.Deps, job.Images)
	if err != nil || job.HubTag == "" {
		return c, err
	}
	images, err := contentsOf(b.store, nil, job.Images)
	c.blobs = images.blobs
	return c, err
}

// hubResults takes a result from the hub: its documents, and its layers if job has a
// staging folder for them.
type hubResults struct {
	ctx context.Context
	hub Hub
	job Job

	store *cache.Store
}

func descriptorOf(desc ocispecs.Descriptor) (oci.Descriptor, error) {
	d, err := oci.ParseDigest(desc.Digest.String())
	return oci.Descriptor{MediaType: desc.MediaType, Digest: d, Size: desc.Size}, err
}

func (r *hubResults) read(desc ocispecs.Descriptor, into any) error {
	d, err := descriptorOf(desc)
	if err != nil {
		return err
	}
	if err := r.hub.Document(r.ctx, d); err != nil {
		return err
	}
	if err := r.place(d); err != nil {
		return err
	}
	return decodeBlob(r.store, d.Digest, into)
}

func (r *hubResults) take(desc ocispecs.Descriptor) error {
	d, err := descriptorOf(desc)
	if err != nil {
		return err
	}
	if r.job.Into == nil {
		return r.hub.Has(r.ctx, d)
	}
	if err := r.hub.Layer(r.ctx, d); err != nil {
		return err
	}
	return r.place(d)
}

func (r *hubResults) place(d oci.Descriptor) error {
	if r.job.Into != nil && !r.job.Into.Has(d.Digest) {
		return fmt.Errorf("the shared blob %s is gone", d.Digest)
	}
	return nil
}

// checkSent has nothing to check: an engine that sent other bytes than those of a digest to
// a registry would have been refused by it.
func (r *hubResults) checkSent(digest.Digest) error { return nil }

// hubImage returns the image that an engine says to have pushed, if the hub has it under
// the job's tag.
func (b *Builder) hubImage(ctx context.Context, job Job, index ocispecs.Descriptor) (*Image, error) {
	d, err := b.hub.Tagged(ctx, job.HubTag)
	if err != nil {
		return nil, err
	}
	if d.String() != index.Digest.String() {
		return nil, &HubError{b.hub.Repository(), fmt.Sprintf("it has %s under the tag %s, and the engine pushed %s: another writer uses this repository, or the hub lies; nothing of it is kept", d, job.HubTag, index.Digest)}
	}
	_, version, _ := strings.Cut(job.Request.Tags[0], ":")
	img := &Image{Index: index, Annotations: oci.IndexAnnotations(job.Ref.String(), version)}
	var idx oci.Index
	if err := decodeBlob(b.store, d, &idx); err != nil {
		return nil, err
	}
	for _, m := range idx.Manifests {
		p, err := m.Platform.Text() // checkAnswer has seen that each has one
		if err != nil {
			return nil, err
		}
		img.Manifests = append(img.Manifests, oci.Manifest{Digest: m.Digest, Size: m.Size, Platform: p})
	}
	return img, nil
}

// hubProblems explain what engines say of registries (containerd: core/remotes/docker;
// BuildKit: util/push, util/pull). The first that matches counts.
var hubProblems = sync.OnceValue(func() []hubWords {
	words := func(pattern, said string) hubWords { return hubWords{regexp.MustCompile(pattern), said} }
	return []hubWords{
		words(`server gave HTTP response to HTTPS client`, `the engine speaks TLS to it, and it does not: write [registry."%s"] and "http = true" into the engine's buildkitd.toml, or give the hub a certificate`),
		words(`http://\S+: 400 Bad Request`, `the engine speaks plain HTTP to it, as to any registry on its own machine's loopback, and it wants TLS: write [registry."%s"] and "http = false" into the engine's buildkitd.toml`),
		words(`x509:|certificate`, `the engine does not trust its certificate: write [registry."%s"] and ca = ["/path"] into the engine's buildkitd.toml`),
		words(`connection refused|no such host|i/o timeout|no route to host|network is unreachable|TLS handshake timeout`, "the engine cannot reach it"),
		words(`\b507\b|Insufficient Storage|no space left on device|quota|denied: .*exceeded`, "it is full: make room there (its operator may delete the tags of earlier runs) and run the same command again"),
		words(`\b413\b|Request Entity Too Large`, "it refuses a layer of that size: raise the limit of the registry, or of the proxy before it"),
		words(`\b401\b|\b403\b|insufficient_scope|authorization failed|denied|no basic auth credentials|PermissionDenied|failed to find supported auth scheme`, "it refuses the engine: its token server must give the login of this sx the right to pull from and push to this repository"),
		words(`unexpected commit digest|short read|unexpected commit size|failed size validation|invalid desc sha256`, "it served other bytes than a digest names, and the engine refused them; an engine keeps what it refused: if it still fails once the hub is mended, stop it and empty content/ingest in its state"),
		words(`not found|\b404\b|MANIFEST_UNKNOWN|BLOB_UNKNOWN`, "it has lost an image that it had; run the same command again, which builds what is gone"),
		words(`\b429\b|Too Many Requests`, "it limits requests; run the same command again later"),
		words(`unexpected status|\b5\d\d\b`, "it failed"),
	}
})

type hubWords struct {
	pattern *regexp.Regexp
	said    string
}

// hubTrouble matches the errors of an engine that are about pulling or pushing.
var hubTrouble = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`failed to push|failed to resolve source metadata|httpReadSeeker|could not fetch content descriptor|unexpected status|failed to copy|failed to do request|failed to fetch (oauth|anonymous) token|failed commit on ref|unexpected commit`)
})

// hubProblem explains m, an engine's message, if it is about the hub; else it returns "".
func hubProblem(m string, hub Hub) string {
	if !hubTrouble().MatchString(m) && !strings.Contains(m, hub.Repository()) {
		return ""
	}
	words := hubProblems()
	i := slices.IndexFunc(words, func(w hubWords) bool { return w.pattern.MatchString(m) })
	if i < 0 {
		return m
	}
	said := words[i].said
	if strings.Contains(said, "%s") {
		said = fmt.Sprintf(said, hub.Host())
	}
	return said + " (" + m + ")"
}
