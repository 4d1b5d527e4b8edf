package graph_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// pulls asks BuildKit itself what it would look up for a Containerfile: the
// images of all stages, and the remote sources of the last. Without named
// contexts all of them are images. The error is BuildKit's, where it refuses.
func pulls(o *graph.Output) (found []string, err error) {
	var asked registry
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), o.Definition.Containerfile, dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildArgs: o.Request(nil).BuildArgs},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		MetaResolver:   &asked,
		AllStages:      true,
	})
	if err == nil {
		found, err = remoteSources(result.State)
	}
	found = append(found, asked.names...)
	slices.Sort(found)
	return slices.Compact(found), err
}

// registry has every image, and remembers who asked.
type registry struct {
	mu    sync.Mutex
	names []string
}

var _ llb.ImageMetaResolver = (*registry)(nil)

func (r *registry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, ref)
	return ref, "", []byte(`{"architecture":"amd64","os":"linux"}`), nil
}

func remoteSources(state llb.State) ([]string, error) {
	definition, err := state.Marshal(context.Background())
	if err != nil {
		return nil, err
	}
	var found []string
	for _, encoded := range definition.Def {
		var op pb.Op
		if err := op.UnmarshalVT(encoded); err != nil {
			return nil, err
		}
		if source := op.GetSource(); source != nil && !strings.HasPrefix(source.Identifier, "docker-image://") && !strings.HasPrefix(source.Identifier, "local://") {
			found = append(found, source.Identifier)
		}
	}
	return found, nil
}

// asImages is how BuildKit names o's dependencies, and the images of other
// registries, when it pulls them.
func asImages(o *graph.Output) []string {
	var images []string
	for _, i := range o.Definition.Images {
		if named, err := reference.ParseNormalizedNamed(i.Name); err == nil {
			images = append(images, named.String())
		}
	}
	for _, dep := range o.Deps {
		images = append(images, "docker.io/stagex/"+dep.String()+":latest")
	}
	slices.Sort(images)
	return slices.Compact(images)
}

func withoutFetch(images []string) []string {
	return slices.DeleteFunc(images, func(s string) bool { return s == "docker.io/library/fetch:latest" })
}

// TestBuildKitAgrees: the edges are all that BuildKit would look up.
func TestBuildKitAgrees(t *testing.T) {
	for name, test := range edgeTests {
		if strings.HasPrefix(name, "ONBUILD") {
			continue // counted as an edge whether or not it is set off
		}
		t.Run(name, func(t *testing.T) { checkPulls(t, neighbours+test.containerfile+"\n") })
	}
	for name, test := range imageTests {
		t.Run(name, func(t *testing.T) { checkPulls(t, neighbours+test.containerfile+"\n") })
	}
}

func checkPulls(t *testing.T, archive string) {
	t.Helper()
	o := mustLoad(t, archive).Output(graph.Ref{Stage: "core", Name: "x"})
	got, err := pulls(o)
	if err != nil {
		t.Fatalf("BuildKit refuses what sx takes: %v", err)
	}
	if got, want := withoutFetch(got), asImages(o); !slices.Equal(got, want) {
		t.Errorf("BuildKit looks up %q, sx has %q", got, want)
	}
}

func TestUpstreamBuildKitAgrees(t *testing.T) {
	_, g := upstreamTree(t)
	for _, o := range g.Outputs() {
		got, err := pulls(o)
		if err != nil {
			t.Errorf("%v: %v", o.Ref, err)
			continue
		}
		if got, want := withoutFetch(got), asImages(o); !slices.Equal(got, want) {
			t.Errorf("%v: BuildKit looks up %q, sx has %q", o.Ref, got, want)
		}
	}
}

// FuzzBuildKit: nothing that loads makes BuildKit look elsewhere.
func FuzzBuildKit(f *testing.F) {
	seeds(f, "Containerfile")
	for _, test := range edgeTests {
		f.Add(test.containerfile)
	}
	for _, test := range edgeErrorTests {
		f.Add(test.containerfile)
	}
	for _, test := range imageTests {
		f.Add(test.containerfile)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree := graphtest.Tree(neighbours)
		tree["packages/core/x/Containerfile"] = &fstest.MapFile{Data: []byte(text)}
		g, err := loadTree(tree)
		if err != nil {
			return
		}
		o := g.Output(graph.Ref{Stage: "core", Name: "x"})
		got, _ := pulls(o)
		for _, image := range withoutFetch(got) {
			if !slices.Contains(asImages(o), image) {
				t.Errorf("BuildKit looks up %q, sx has %q", image, asImages(o))
			}
		}
	})
}
