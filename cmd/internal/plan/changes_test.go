package plan

import (
	"maps"
	"slices"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

func sampleParts() tree.KeyParts {
	return tree.KeyParts{
		Format: 1, Probe: "sha256:0123456789abcdef",
		Request: graph.Request{
			Context: "packages/core/x", Platforms: []string{"linux/amd64"}, Tags: []string{"stagex/core-x:1"},
			BuildArgs: map[string]string{"VERSION": "1", "VERSION_DASH": "1", "A_VERSION": "3"},
		},
		Context: []tree.Listed{{Path: "Containerfile", Mode: "-rw-r--r--", Sum: "aa"}, {Path: "run", Mode: "-rwxr-xr-x", Sum: "bb"}},
		Sources: map[string]string{"x-1.tgz": "0123456789abcdef"},
		Deps: map[string]map[string]bool{
			"core-a": {"linux/amd64 sha256:00000000000000": true, "linux/arm64 sha256:11111111111111": true},
		},
	}
}

// Each part of a key that can differ is described in its own words.
func TestChanges(t *testing.T) {
	for want, edit := range map[string]func(*tree.KeyParts){
		"packages/core/x/run changed":                                   func(p *tree.KeyParts) { p.Context[1].Sum = "cc" },
		"packages/core/x/run has another mode: -rwxr-xr-x → -rw-r--r--": func(p *tree.KeyParts) { p.Context[1].Mode = "-rw-r--r--" },
		"packages/core/x/run was removed":                               func(p *tree.KeyParts) { p.Context = p.Context[:1] },
		"packages/core/x/dir/new was added": func(p *tree.KeyParts) {
			p.Context = append(p.Context, tree.Listed{Path: "dir/new", Mode: "-rw-r--r--", Sum: "dd"})
		},
		"the source x-1.tgz changed 0123456789ab… → fedcba987654…": func(p *tree.KeyParts) { p.Sources["x-1.tgz"] = "fedcba9876543210" },
		"the source y was added":                                    func(p *tree.KeyParts) { p.Sources["y"] = "00" },
		"the source x-1.tgz was removed":                            func(p *tree.KeyParts) { delete(p.Sources, "x-1.tgz") },
		"the build argument A_VERSION changed 3 → 4":                func(p *tree.KeyParts) { p.Request.BuildArgs["A_VERSION"] = "4" },
		"the platforms changed linux/amd64 → linux/386,linux/amd64": func(p *tree.KeyParts) { p.Request.Platforms = []string{"linux/386", "linux/amd64"} },
		"the target changed none → package-x":                       func(p *tree.KeyParts) { p.Request.Target = "package-x" },
		"the tags changed stagex/core-x:1 → stagex/core-x:2":        func(p *tree.KeyParts) { p.Request.Tags = []string{"stagex/core-x:2"} },
		"core-a changed sha256:111111111111… → sha256:222222222222…": func(p *tree.KeyParts) {
			swap(p.Deps["core-a"], "linux/arm64 sha256:11111111111111", "linux/arm64 sha256:22222222222222")
		},
		"core-b is a new dependency":                                                         func(p *tree.KeyParts) { p.Deps["core-b"] = map[string]bool{"linux/amd64 sha256:00": true} },
		"core-a is no dependency any more":                                                   func(p *tree.KeyParts) { delete(p.Deps, "core-a") },
		"this sx builds otherwise than the one that built it":                                func(p *tree.KeyParts) { p.Format = 2 },
		"the engine produces other bytes: its probe image was sha256:0123456789ab…, is none": func(p *tree.KeyParts) { p.Probe = "" },
		// One edit, told once.
		"its version changed 1 → 2": func(p *tree.KeyParts) {
			p.Request.BuildArgs["VERSION"], p.Request.BuildArgs["VERSION_DASH"] = "2", "2"
			p.Request.Tags = []string{"stagex/core-x:2"}
		},
	} {
		now := sampleParts()
		edit(&now)
		if got := changes(sampleParts(), now); len(got) != 1 || got[0].Text != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	if got := changes(sampleParts(), sampleParts()); len(got) != 0 {
		t.Errorf("without a change: %+v", got)
	}
}

func swap(m map[string]bool, was, now string) {
	delete(m, was)
	m[now] = true
}

// A change that a person made comes before its consequences, and a reason fits in
// one line.
func TestSentence(t *testing.T) {
	now := sampleParts()
	now.Context[0].Sum = "zz"
	now.Request.BuildArgs = maps.Clone(now.Request.BuildArgs)
	now.Request.BuildArgs["A_VERSION"] = "4"
	now.Sources = map[string]string{"x-2.tgz": "00"}
	cs := changes(sampleParts(), now)
	var kinds []string
	for _, c := range cs {
		kinds = append(kinds, c.Kind)
	}
	if want := []string{"file", "source", "source", "argument"}; !slices.Equal(kinds, want) {
		t.Errorf("the order is %q, want %q", kinds, want)
	}
	if got, want := sentence(cs), "packages/core/x/Containerfile changed, the source x-1.tgz was removed, and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
