package lint

import (
	"context"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	buildkitlint "github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/graph"
)

// buildkit checks a Containerfile by BuildKit's rules, with the build args of a build.
func (s Subject) buildkit(ctx context.Context, d *graph.Definition) ([]Finding, error) {
	file := d.Dir + "/Containerfile"
	if len(d.Outputs) == 0 {
		return nil, nil
	}
	request := s.Graph.Output(d.Outputs[0]).Request(nil)
	platform, err := platforms.Parse(request.Platforms[0])
	if err != nil {
		return nil, err
	}
	source := llb.NewSourceMap(nil, file, "Dockerfile", d.Containerfile)
	source.Definition = &llb.Definition{} // of no state: the file is not in an engine
	results, err := dockerfile2llb.DockerfileLint(ctx, d.Containerfile, dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildArgs: request.BuildArgs, BuildPlatforms: []ocispecs.Platform{platform}},
		TargetPlatform: &platform,
		MetaResolver:   baseImages{platform},
		SourceMap:      source,
	})
	if err != nil {
		return nil, err
	}
	return fromBuildKit(file, results), nil
}

func fromBuildKit(file string, results *buildkitlint.LintResults) (findings []Finding) {
	for _, w := range results.Warnings {
		if w.RuleName == skippedRule {
			continue
		}
		line := 0
		if len(w.Location.GetRanges()) > 0 {
			line = int(w.Location.Ranges[0].GetStart().GetLine())
		}
		findings = append(findings, Finding{w.RuleName, Error, file, line, w.Detail, w.Description, w.URL})
	}
	if results.Error != nil {
		line := 0
		if ranges := results.Error.Location.GetRanges(); len(ranges) > 0 {
			line = int(ranges[0].GetStart().GetLine())
		}
		findings = append(findings, found(brokenDefinition, file, line, "%s", strings.TrimSpace(results.Error.Message)))
	}
	return findings
}

// baseImages stands for all images: it has each, for the platform that is asked for, with
// an empty environment.
type baseImages struct{ platform ocispecs.Platform }

var _ llb.ImageMetaResolver = baseImages{}

func (b baseImages) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	p := b.platform
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		p = *opt.ImageOpt.Platform
	}
	return ref, "", []byte(`{"architecture":"` + p.Architecture + `","os":"` + p.OS + `"}`), nil
}
