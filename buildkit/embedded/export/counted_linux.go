package export

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/snapshot"
)

// Counted is a snapshotter in which a snapshot's size has that of its finished
// layers in it, so that they count against the bound of BuildKit's cache. refs are
// what that cache stores of its references.
func Counted(s snapshot.Snapshotter, refs *metadata.Store) snapshot.Snapshotter {
	return &counted{s, refs}
}

type counted struct {
	snapshot.Snapshotter
	refs *metadata.Store
}

// Usage implements snapshot.Snapshotter.
func (c *counted) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	usage, err := c.Snapshotter.Usage(ctx, key)
	if err != nil {
		return usage, err
	}
	ref, ok := c.refs.Get(key) // BuildKit names a committed snapshot like its reference
	if !ok {
		return usage, nil
	}
	for _, k := range ref.Keys() {
		if !strings.HasPrefix(k, recordPrefix) {
			continue
		}
		var text string
		var r record
		if ref.Get(k).Unmarshal(&text) == nil && json.Unmarshal([]byte(text), &r) == nil {
			usage.Size += r.Layer.Size
		}
	}
	return usage, nil
}
