package doctor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
)

// tryTime is how long an engine may take to start and to build what [Try] wants of it.
const tryTime = 3 * time.Minute

// Trial is what an engine showed.
type Trial struct {
	Idle        string // why nothing was tried; "" if something was
	BuildKit    string // its version
	Snapshotter string
	Probe       string           // the digest of the probe image
	Runs        []string         // platforms whose programs ran
	Fails       map[string]error // those whose programs did not, and why
}

// Try builds the probe image on e, and an image with a RUN for each platform that StageX's
// seed needs. It starts no container that sx keeps: of a podman engine that does not run,
// it only asks whether podman answers.
func Try(ctx context.Context, e buildkit.Engine, store *cache.Store, log *zap.Logger) (t Trial, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tryTime, &buildkit.EngineError{
		Engine: buildkit.EngineName(e), Problem: fmt.Sprintf("it did not build a small image within %s", tryTime), Remedy: "see sx engine logs",
	})
	defer cancel()
	if m, ok := e.(buildkit.Managed); ok && e.Kind() != buildkit.EmbeddedKind {
		s, err := m.Status(ctx)
		if err != nil {
			return t, err
		}
		if !s.Running {
			return Trial{Idle: "the first build starts it"}, nil
		}
	}
	b, err := buildkit.Open(ctx, e, buildkit.Options{Store: store, Log: log})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return try(ctx, b, store)
}

func try(ctx context.Context, b *buildkit.Builder, store *cache.Store) (t Trial, err error) {
	if t.BuildKit, err = b.Version(ctx); err != nil {
		return t, err
	}
	if t.Snapshotter, err = b.Snapshotter(ctx); err != nil {
		return t, err
	}
	into := func(do func(*cache.Staging) error) error {
		s, err := store.Stage("sx-doctor")
		if err != nil {
			return err
		}
		return errors.Join(do(s), s.Close())
	}
	err = into(func(s *cache.Staging) error {
		d, err := b.Probe(ctx, s)
		t.Probe = d.String()
		return err
	})
	t.Fails = map[string]error{}
	for _, p := range seedPlatforms() {
		if err != nil {
			return t, err
		}
		failed := into(func(s *cache.Staging) error { return b.Trial(ctx, s, p) })
		if failed == nil {
			t.Runs = append(t.Runs, p)
			continue
		}
		t.Fails[p] = failed
		if ctx.Err() != nil {
			return t, context.Cause(ctx)
		}
	}
	return t, err
}

// seedPlatforms are those that a build of the whole tree runs programs of.
func seedPlatforms() []string {
	if runtime.GOARCH == "arm64" {
		return []string{"linux/amd64", "linux/arm64"}
	}
	return []string{"linux/amd64", "linux/386"}
}

// engine has the lines about what the engine needs, and what it showed.
func (m Machine) engine(ctx context.Context) (lines []Line) {
	const name = "engine"
	if m.Engine.Embedded {
		for _, n := range m.Engine.Needs() {
			if n.Err != nil {
				lines = append(lines, stopped(n.Name, "", n.Err))
			} else {
				lines = append(lines, ok(n.Name, "%s", n.Found))
			}
		}
		lines = append(lines, m.cgroups())
		if Stops(lines) > 0 {
			return append(lines, limit(name, "mend what is above, then run sx doctor again", "%s was not tried", m.Engine.Name))
		}
	}
	t, err := m.Engine.Try(ctx)
	switch {
	case err != nil:
		return append(lines, stopped(name, "sx engine logs says more", err))
	case t.Idle != "":
		return append(lines, limit(name, "build something, then run sx doctor again", "%s was not tried: %s", m.Engine.Name, t.Idle))
	}
	return append(lines, append([]Line{ok(name, "%s, BuildKit %s", m.Engine.Name, t.BuildKit)}, t.lines()...)...)
}

// lines are those about what an engine that works makes.
func (t Trial) lines() []Line {
	layers := ok("layers", "stacked with %s", t.Snapshotter)
	if t.Snapshotter != buildkit.Overlayfs {
		layers = limit("layers", "use a kernel (5.11 or newer for ordinary users) and a filesystem with overlayfs", "%s", buildkit.OtherSnapshotter(t.Snapshotter))
	}
	bytes := ok("bytes", "it makes StageX's bytes")
	if t.Probe != buildkit.ProbeDigest {
		bytes = limit("bytes", "use BuildKit 0.26 or newer, built with Go 1.26, or --engine embedded",
			"it does not produce StageX's bytes (its probe image is %.19s…, not %.19s…), so no digest can be judged", t.Probe, buildkit.ProbeDigest)
	}
	lines := []Line{layers, bytes}
	if len(t.Runs) > 0 {
		lines = append(lines, ok("programs", "of %s run", strings.Join(t.Runs, " and ")))
	}
	for _, p := range seedPlatforms() {
		if err := t.Fails[p]; err != nil {
			lines = append(lines, stopped("programs", "sx engine logs says more", err))
		}
	}
	return lines
}
