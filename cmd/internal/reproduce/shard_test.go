package reproduce

import (
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"codeberg.org/stagex/sx/graph"
)

// Shards are a partition, the same for everybody, keep families together, and take about
// the same time.
func TestShard(t *testing.T) {
	files := fstest.MapFS{}
	add := func(name, toml, containerfile string) {
		files["packages/core/"+name+"/package.toml"] = &fstest.MapFile{Data: []byte("[package]\nname = \"" + name + "\"\n" + toml)}
		files["packages/core/"+name+"/Containerfile"] = &fstest.MapFile{Data: []byte(containerfile)}
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		add(name, "", "FROM scratch\n")
	}
	add("tools", "subpackages = [\"x\", \"y\"]\n", "FROM scratch AS package-x\nFROM scratch AS package-y\n")
	g, err := graph.Load(t.Context(), files, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]time.Duration{"core-a": 6 * time.Minute, "core-b": 2 * time.Minute, "core-x": 2 * time.Minute}
	var all []graph.Ref
	for n := 1; n <= 3; n++ {
		part := Shard{n, 3}.Part(g, g.All(), times)
		if slices.Contains(part, graph.Ref{Stage: "core", Name: "x"}) != slices.Contains(part, graph.Ref{Stage: "core", Name: "y"}) {
			t.Errorf("shard %d splits a family: %v", n, part)
		}
		if len(part) == 0 || len(part) > 5 {
			t.Errorf("shard %d has %d outputs", n, len(part))
		}
		reversed := g.All()
		slices.Reverse(reversed)
		if again := (Shard{n, 3}).Part(g, reversed, times); !slices.Equal(part, again) {
			t.Errorf("shard %d: %v, then %v", n, part, again)
		}
		all = append(all, part...)
	}
	slices.SortFunc(all, graph.Ref.Compare)
	if !slices.Equal(all, g.All()) {
		t.Errorf("together they are %v", all)
	}
	for _, bad := range []string{"", "3", "0/3", "4/3", "1/", "-1/2", "1/2x", "01/2", "1/99999"} {
		if _, err := ParseShard(bad); err == nil {
			t.Errorf("%q is a shard", bad)
		}
	}
}
