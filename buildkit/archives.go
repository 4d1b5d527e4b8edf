package buildkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync"

	"codeberg.org/stagex/sx/buildkit/xzheader"
	"codeberg.org/stagex/sx/graph"
)

// BuildKit unpacks an .xz file of an ADD with the program xz. If xz fails at the start of
// the file, BuildKit copies the file instead, without an error: the image is then a
// different one (moby/buildkit: solver/llbsolver/file, isArchivePath). So sx checks before
// the build whether the engine's xz can unpack the file.

// archives remembers which archives the xz of an engine elsewhere can unpack.
type archives struct {
	mu      sync.Mutex
	unpacks map[string]bool // by filters
}

// CheckArchives returns an error for the first .xz file of an ADD that the engine's xz
// cannot unpack: an *UnfitError, or an *EngineError of an engine elsewhere.
func (b *Builder) CheckArchives(ctx context.Context, job Job) error {
	if job.trusted {
		return nil
	}
	added := addedFiles(containerfileOf(job.Files))
	for name, open := range jobFiles(job) {
		if !slices.ContainsFunc(added, func(p *regexp.Regexp) bool { return p.MatchString(name) }) {
			continue
		}
		h, err := headerOf(open)
		switch {
		case errors.Is(err, xzheader.ErrNotXZ) || err == nil && h.Plain():
			continue
		case err != nil:
			return fmt.Errorf("reading %q: %w", name, err)
		}
		if err := b.checkArchive(ctx, name, h); err != nil {
			return err
		}
	}
	return nil
}

// jobFiles returns the files of a job's context, by name.
func jobFiles(job Job) map[string]func() (io.ReadCloser, error) {
	files := map[string]func() (io.ReadCloser, error){}
	for _, f := range job.Files {
		if f.Mode.IsRegular() {
			files[f.Path] = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil }
		}
	}
	for _, s := range job.Sources {
		files["fetch/"+s.Name] = func() (io.ReadCloser, error) { return os.Open(s.Path) }
	}
	return files
}

func headerOf(open func() (io.ReadCloser, error)) (xzheader.Header, error) {
	f, err := open()
	if err != nil {
		return xzheader.Header{}, err
	}
	defer f.Close()
	return xzheader.Read(f)
}

// checkArchive returns an error if the engine's xz cannot unpack the file. It has to ask
// only an engine elsewhere, whose xz may be any release.
func (b *Builder) checkArchive(ctx context.Context, name string, h xzheader.Header) error {
	if b.Kind() == EmbeddedKind {
		if lacks := h.Missing(); lacks != "" {
			return &UnfitError{
				fmt.Sprintf("%s is compressed with %s, which the xz inside sx does not support: BuildKit would silently copy the file instead of unpacking it", name, lacks),
				"build on an engine elsewhere whose xz supports it (--engine), or compress the file another way",
			}
		}
		return nil
	}
	ok, err := b.unpacks(ctx, h)
	if err != nil || ok {
		return err
	}
	return &EngineError{
		EngineName(b.Engine),
		fmt.Sprintf("its xz cannot unpack %s (filters %s, check %#x): BuildKit would silently copy the file instead", name, h, h.Check),
		"install a newer xz there (arm64 needs 5.4, riscv 5.6; busybox's supports few filters), or compress the file another way",
	}
}

// unpacks lets the engine unpack a small archive with the filters of h, and reports
// whether it could.
func (b *Builder) unpacks(ctx context.Context, h xzheader.Header) (bool, error) {
	data, key := xzheader.Sample(h), fmt.Sprintf("%#v", h)
	if data == nil {
		return false, nil
	}
	b.archives.mu.Lock()
	defer b.archives.mu.Unlock()
	if ok, known := b.archives.unpacks[key]; known {
		return ok, nil
	}
	into, err := b.store.Stage("sx-probe-xz")
	if err != nil {
		return false, err
	}
	defer into.Close()
	req := probeRequest()
	job := Job{Ref: graph.Ref{Stage: "sx", Name: "probe-xz"}, Request: req, Into: into, trusted: true, Files: []graph.File{
		{Path: "Containerfile", Mode: 0o644, ModTime: epoch, Data: []byte("FROM scratch AS a\nADD a.xz /d/\nFROM scratch\nCOPY --from=a /d/" + xzheader.SampleName + " /\n")},
		{Path: "a.xz", Mode: 0o644, ModTime: epoch, Data: data},
	}}
	_, err = b.Build(ctx, job)
	var failed *BuildError
	if err != nil && !errors.As(err, &failed) {
		return false, fmt.Errorf("asking the engine what its xz unpacks: %w", err)
	}
	if b.archives.unpacks == nil {
		b.archives.unpacks = map[string]bool{}
	}
	b.archives.unpacks[key] = err == nil
	return err == nil, nil
}
