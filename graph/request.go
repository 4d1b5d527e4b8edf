package graph

import (
	"maps"
	"slices"
	"strings"
)

// DefaultPlatform is built if neither definition nor user name another.
const DefaultPlatform = "linux/amd64"

// Request is what decides an output's bytes, as far as the tree says. It is a plain
// value: `sx build --dry-run --json` prints its JSON, and an output's key covers it. All
// paths are relative to the tree, with slashes.
//
// Source: upstream's src/targets.py, TARGET_TEMPLATE.
type Request struct {
	Context     string            `json:"context"`    // "packages/core/rust"
	File        string            `json:"file"`       // "packages/core/rust/Containerfile"
	Fetch       string            `json:"fetch"`      // "fetch/core/rust", the named context fetch
	Target      string            `json:"target"`     // "" is the last stage
	Platforms   []string          `json:"platforms"`  // in the order of the manifests
	BuildArgs   map[string]string `json:"build_args"` //
	Contexts    map[string]string `json:"contexts"`   // "stagex/core-musl": "out/core-musl"
	Images      []Image           `json:"images,omitempty"`
	Tags        []string          `json:"tags"`        // "stagex/core-rust:1.94.0"
	Annotations map[string]string `json:"annotations"` // of the exporter, without "annotation."
	Ulimits     []string          `json:"ulimits"`     // "nofile=<soft>:<hard>"
}

// Request returns how to build o. The platforms are the user's choice, in order; the
// definition's take precedence, and without either it is DefaultPlatform. The request
// shares no memory with the graph.
func (o *Output) Request(platforms []string) Request {
	name := "stagex/" + o.Ref.String()
	r := Request{
		Context:   o.Definition.Dir,
		File:      o.Definition.Dir + "/Containerfile",
		Fetch:     o.Definition.Fetch(),
		Target:    o.Target,
		Platforms: o.Platforms(platforms),
		BuildArgs: o.Definition.buildArgs(),
		Contexts:  make(map[string]string, len(o.Deps)),
		Images:    slices.Clone(o.Definition.Images),
		Tags:      []string{name + ":" + o.Tag()},
		Annotations: map[string]string{
			"containerd.io/distribution.source.docker.io": name,
			"org.opencontainers.image.version":            o.Tag(),
			"org.opencontainers.image.created":            "1970-01-01T00:00:01Z",
		},
		Ulimits: []string{"nofile=2048:16384"},
	}
	for _, dep := range o.Deps {
		r.Contexts["stagex/"+dep.String()] = "out/" + dep.String()
	}
	return r
}

// Platforms returns the platforms of a request for o.
func (o *Output) Platforms(chosen []string) []string {
	switch {
	case len(o.Definition.Platforms) > 0:
		return slices.Clone(o.Definition.Platforms)
	case len(chosen) > 0:
		return slices.Clone(chosen)
	}
	return []string{DefaultPlatform}
}

// fixedArgs are build arguments of every build.
var fixedArgs = map[string]string{
	"SOURCE_DATE_EPOCH":         "1",
	"BUILDKIT_MULTI_PLATFORM":   "1",
	"BUILDKIT_DOCKERFILE_CHECK": "skip=FromPlatformFlagConstDisallowed;error=true",
}

func (d *Definition) buildArgs() map[string]string {
	args := make(map[string]string, len(fixedArgs)+6+3*len(d.Sources))
	maps.Copy(args, fixedArgs)
	if d.Version != "" {
		v := version(d.Version)
		args["VERSION"] = d.Version
		args["VERSION_UNDER"] = v.under()
		args["VERSION_DASH"] = v.dash()
		args["VERSION_MAJOR"] = v.major()
		args["VERSION_MAJOR_MINOR"] = v.majorMinor()
		args["VERSION_STRIP_SUFFIX"] = v.stripSuffix()
	}
	for _, s := range d.Sources {
		key := strings.ToUpper(s.Key)
		if s.Version != "" {
			args[key+"_VERSION"] = s.Version
			args[key+"_SOURCE"] = s.ArgFile
		}
		if s.GitSHA != "" {
			args[key+"_GIT_SHA"] = s.GitSHA
		}
	}
	return args
}
