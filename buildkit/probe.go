package buildkit

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// ProbeDigest is the result of [Builder.Probe] on an engine that makes StageX's bytes:
// BuildKit 0.26 or newer, built with a Go release whose compress/gzip gives the same bytes
// as that of Go 1.26. It was taken from an engine that reproduced the published digests of
// bootstrap-stage0 and core-profile.
const ProbeDigest = "sha256:f846ec09bf6bdfda1491189b5a3f723a9c0a3ea795f8cb412e7f9a99d35f81d1"

// Probe builds a small fixed image and returns its manifest's digest. The digest depends
// on everything in which engines differ without an error: the compressor, the exporter,
// and the rewriting of timestamps. into is a staging folder that the caller discards. A
// good result is stored in the connection's ProbeFile.
func (b *Builder) Probe(ctx context.Context, into *cache.Staging) (oci.Digest, error) {
	if d, err := recall(b.conn.ProbeFile); err == nil {
		return d, nil
	}
	d, err := b.probe(ctx, into)
	if err != nil {
		return d, fmt.Errorf("probing the engine: %w", err)
	}
	if path := b.conn.ProbeFile; path != "" && d.String() == ProbeDigest {
		if err := disk.WriteFile(path, []byte(d.String()+"\n"), 0o600, filepath.Dir(path)); err != nil {
			b.log.Debug("keeping the engine's probe", zap.Error(err))
		}
	}
	return d, nil
}

func recall(path string) (oci.Digest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return oci.Digest{}, err
	}
	return oci.ParseDigest(strings.TrimSuffix(string(data), "\n"))
}

func (b *Builder) probe(ctx context.Context, into *cache.Staging) (oci.Digest, error) {
	job := Job{Ref: graph.Ref{Stage: "sx", Name: "probe"}, Request: probeRequest(), Files: probeFiles(), Into: into}
	img, err := b.Build(ctx, job)
	if err != nil {
		return oci.Digest{}, err
	}
	var idx struct {
		Manifests []struct{ Digest string }
	}
	c := collector{sink: b.sink, into: into}
	if err := c.read(img.Index, &idx); err != nil {
		return oci.Digest{}, err
	}
	if len(idx.Manifests) != 1 {
		return oci.Digest{}, fmt.Errorf("it made %d manifests, want 1", len(idx.Manifests))
	}
	return oci.ParseDigest(idx.Manifests[0].Digest)
}

func probeRequest() graph.Request {
	return graph.Request{
		Context:   "probe",
		File:      "probe/Containerfile",
		Platforms: []string{"linux/amd64"},
		BuildArgs: map[string]string{
			"SOURCE_DATE_EPOCH":       "1",
			"BUILDKIT_MULTI_PLATFORM": "1",
		},
		Tags:        []string{"stagex/sx-probe:1"},
		Annotations: map[string]string{"org.opencontainers.image.version": "1"},
		Ulimits:     []string{"nofile=2048:16384"},
	}
}

// probeFiles returns a context with files for the compressor (a megabyte, half noise, half
// repetition, of several deflate blocks), modes, a link, and times to rewrite.
func probeFiles() []graph.File {
	when := time.Unix(1_700_000_000, 123456789)
	return []graph.File{
		{Path: "Containerfile", Mode: 0o644, ModTime: when, Data: []byte("FROM scratch\nCOPY data /data\nCOPY --chmod=4755 noise /bin/noise\n")},
		{Path: "data", Mode: fs.ModeDir | 0o755, ModTime: when},
		{Path: "data/link", Mode: fs.ModeSymlink | 0o777, ModTime: when, Link: "../bin/noise"},
		{Path: "data/text", Mode: 0o644, ModTime: when, Data: probeText()},
		{Path: "noise", Mode: 0o755, ModTime: when, Data: probeNoise(1 << 18)},
	}
}

// probeNoise returns a fixed pseudo-random sequence (xorshift64*). It is implemented here
// so that no library's release can change it.
func probeNoise(n int) []byte {
	b := make([]byte, 0, n)
	for x := uint64(0x9e3779b97f4a7c15); len(b) < n; {
		x ^= x >> 12
		x ^= x << 25
		x ^= x >> 27
		b = binary.LittleEndian.AppendUint64(b, x*0x2545f4914f6cdd1d)
	}
	return b
}

// probeText repeats words at varying distances, which the compressor has to search for.
func probeText() []byte {
	words := []string{"stage", "seed", "core", "pallet", "user", "bootstrap", "digest", "\n"}
	noise := probeNoise(1 << 17)
	var b []byte
	for _, n := range noise {
		b = append(b, words[n%8]...)
		b = append(b, ' ', 'a'+n>>4)
	}
	return b
}
