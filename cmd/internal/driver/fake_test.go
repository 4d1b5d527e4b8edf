package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// fakeBuild leaves what a build of the whole tree leaves: for each output a layout
// in out/ with a small layer, a record, and a line in digests/, as if the given
// version of sx had built it.
func fakeBuild(t testing.TB, dir *tree.Tree, version string) {
	t.Helper()
	fakeBuildOf(t, dir, version, func(o *graph.Output) []byte { return []byte(o.Ref.String()) })
}

// fakeBuildOf is fakeBuild with layers of the caller's.
func fakeBuildOf(t testing.TB, dir *tree.Tree, version string, layer func(*graph.Output) []byte) {
	t.Helper()
	refs := dir.Graph.All()
	names := make([]string, len(refs))
	layouts := make([]cache.Layout, len(refs))
	errs := make([]error, len(refs))
	tree.Parallel(len(refs), func(i int) {
		names[i] = refs[i].String()
		o := dir.Graph.Output(refs[i])
		layouts[i], errs[i] = fakeLayout(dir, o, layer(o))
	})
	built, published := map[string][]oci.Manifest{}, cache.Published{}
	for i, name := range names {
		built[name], published[name] = layouts[i].Manifests, layouts[i].Digest()
	}
	tree.Parallel(len(refs), func(i int) {
		errs[i] = errors.Join(errs[i], fakeRecord(dir, dir.Graph.Output(refs[i]), layouts[i], built, version))
	})
	errs = append(errs, dir.Store.WriteDigests(published), dir.Store.Touch(names, time.Now()))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func fakeRecord(tree *tree.Tree, o *graph.Output, l cache.Layout, built map[string][]oci.Manifest, version string) error {
	rec := cache.Record{
		Output: o.Ref.String(), Origin: cache.BuiltHere,
		Manifests: l.Manifests, Index: l.Index, Top: l.Top,
		Engine:  cache.EngineInfo{Kind: "embedded", BuildKit: "fake", SX: version, Probe: buildkit.ProbeDigest},
		Started: time.Now(), Finished: time.Now(),
	}
	for _, d := range o.Deps {
		rec.Deps = append(rec.Deps, cache.Dep{Output: d.String(), Images: built[d.String()]})
	}
	key, err := tree.Keep(o, o.Request(nil), rec.Deps, rec.Engine.Probe)
	if err != nil {
		return err
	}
	rec.Key = key
	return tree.Store.PutRecord(rec)
}

// fakeLayout commits an image of the output's first platform, with one layer.
func fakeLayout(tree *tree.Tree, o *graph.Output, layer []byte) (cache.Layout, error) {
	into, err := tree.Store.Stage(o.Ref.String())
	if err != nil {
		return cache.Layout{}, err
	}
	defer into.Close()
	index, err := fakeImage(into, o, layer)
	if err != nil {
		return cache.Layout{}, err
	}
	return into.Commit(context.Background(), index, nil)
}

// fakeImage writes the blobs of an image of the output's first platform, with one layer.
func fakeImage(into *cache.Staging, o *graph.Output, layer []byte) (index oci.Descriptor, err error) {
	var errs []error
	put := func(mediaType, text string) (descriptor string) {
		d := oci.DigestOf([]byte(text))
		errs = append(errs, into.WriteBlob(d, int64(len(text)), strings.NewReader(text)))
		index = oci.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(text))} // the last is that of the image index
		return fmt.Sprintf(`"digest":%q,"mediaType":%q,"size":%d`, d, mediaType, len(text))
	}
	system, architecture, _ := strings.Cut(o.Request(nil).Platforms[0], "/")
	config := put("application/vnd.oci.image.config.v1+json", fmt.Sprintf(
		`{"architecture":%q,"os":%q,"rootfs":{"diff_ids":[%q]}}`, architecture, system, oci.DigestOf(layer)))
	manifest := put(oci.MediaTypeManifest, fmt.Sprintf(`{"config":{%s},"layers":[{%s}],"mediaType":%q,"schemaVersion":2}`,
		config, put("application/vnd.oci.image.layer.v1.tar+gzip", string(layer)), oci.MediaTypeManifest))
	put(oci.MediaTypeIndex, fmt.Sprintf(`{"manifests":[{%s,"platform":{"architecture":%q,"os":%q}}],"mediaType":%q,"schemaVersion":2}`,
		manifest, architecture, system, oci.MediaTypeIndex))
	return index, errors.Join(errs...)
}

// writeShaped writes a tree of n graphs with the shape of StageX's, with definitions
// as large as upstream's.
func writeShaped(t testing.TB, dir string, n int) {
	t.Helper()
	steps := plantest.Copies(plantest.ShapedSteps(), n)
	outputs := map[*graph.Definition][]string{}
	for _, s := range steps {
		d := s.Output.Definition
		outputs[d] = append(outputs[d], s.Output.Ref.Name)
	}
	for _, s := range steps {
		names, name := outputs[s.Output.Definition], s.Output.Ref.Name
		if names[0] != name {
			continue
		}
		if len(names) > 1 {
			name = "family-" + name
		}
		folder := filepath.Join(dir, "packages", s.Output.Ref.Stage, name)
		edit(t, filepath.Join(folder, "package.toml"), shapedManifest(name, names))
		edit(t, filepath.Join(folder, "Containerfile"), shapedContainerfile(s.Output.Deps, names))
	}
}

func shapedManifest(name string, outputs []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[package]\nname = %q\nversion = \"1.2.3\"\nlicense = \"MIT\"\n", name)
	fmt.Fprintf(&b, "description = \"What %s is for\"\nwebsite = \"https://example.org/%s\"\n", name, name)
	if len(outputs) > 1 {
		fmt.Fprintf(&b, "subpackages = [\"%s\"]\n", strings.Join(outputs, `", "`))
	}
	fmt.Fprintf(&b, "\n[sources.main]\nhash = \"%x\"\nformat = \"tar.xz\"\n", oci.DigestOf([]byte(name)).Sum())
	fmt.Fprintf(&b, "file = \"%s-{version}.{format}\"\nmirrors = [\"https://example.org/{file}\", \"https://mirror.example.org/{file}\"]\n", name)
	return b.String()
}

func shapedContainerfile(deps []graph.Ref, outputs []string) string {
	var b strings.Builder
	b.WriteString("FROM scratch AS build\nARG VERSION\n")
	for _, d := range deps {
		fmt.Fprintf(&b, "COPY --from=stagex/%s . /\n", d)
	}
	b.WriteString("ADD fetch/*.tar.xz .\nWORKDIR /main-${VERSION}\nRUN --network=none <<-EOF\n\tset -eux\n\t./configure \\\n")
	for option := range 12 {
		fmt.Fprintf(&b, "\t\t--with-option-%d=/usr \\\n", option)
	}
	b.WriteString("\t\t--prefix=/usr\n\tmake -j\"$(nproc)\"\n\tmake DESTDIR=/rootfs install\nEOF\n")
	for _, name := range outputs {
		fmt.Fprintf(&b, "\nFROM scratch AS package-%s\nCOPY --from=build /rootfs/ /\n", name)
	}
	return b.String()
}

// copyTree copies packages/ and the files that make needs from a checkout; make asks
// git for the list of files.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	for _, name := range []string{"packages", "src", "Makefile"} {
		info, err := os.Stat(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsDir() {
			data, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, filepath.Join(to, name), string(data))
			continue
		}
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(from, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "packages"}} {
		if out, err := exec.Command("git", append([]string{"-C", to}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
}
