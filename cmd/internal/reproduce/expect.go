package reproduce

import (
	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Key returns the key that a record of o has if o was built from what t says now, from the
// published images of its dependencies, on an engine that makes StageX's bytes.
func Key(t *tree.Tree, o *graph.Output) (cache.Key, error) {
	var deps cache.Deps
	for _, d := range o.Inputs() {
		image := oci.Manifest{Digest: t.Published[d.String()]}
		if platforms := d.Platforms(nil); len(platforms) > 0 {
			image.Platform = platforms[0]
		}
		deps = append(deps, cache.Dep{Output: d.String(), Images: []oci.Manifest{image}})
	}
	return t.Key(o, o.Request(nil), deps, buildkit.ProbeDigest)
}
