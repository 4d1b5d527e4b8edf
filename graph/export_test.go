package graph_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
	"github.com/google/go-cmp/cmp"
)

func TestWriteJSON(t *testing.T) {
	g := mustLoad(t, exampleTree)
	var b strings.Builder
	refs := []graph.Ref{{Stage: "user", Name: "wrench"}, {Stage: "bootstrap", Name: "stage0"}, {Stage: "core", Name: "lua-jit"}, {Stage: "user", Name: "wrench"}, {Stage: "core", Name: "gone"}}
	if err := g.WriteJSON(&b, refs, nil); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/graph.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("JSON (-testdata/graph.json +got):\n%s", diff)
	}
}

func TestMarshalJSON(t *testing.T) {
	for _, archive := range []string{exampleTree, "-- packages/README.md --\n"} {
		g := mustLoad(t, archive)
		var written strings.Builder
		if err := g.WriteJSON(&written, g.All(), g.Broken()); err != nil {
			t.Fatal(err)
		}
		marshalled, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal(marshalled, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(written.String()), &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("MarshalJSON and WriteJSON differ:\n%s", diff)
		}
		if strings.Contains(written.String(), "null") {
			t.Errorf("null in %s", written.String())
		}
	}
}

func TestWriteDOT(t *testing.T) {
	g := mustLoad(t, selectionTree)
	var b strings.Builder
	if err := g.WriteDOT(&b, g.All()); err != nil {
		t.Fatal(err)
	}
	want := `digraph stagex {
	"core-rust";
	"pallet-rust";
	"pallet-rust" -> "core-rust";
	"user-core";
	"user-core" -> "pallet-rust";
	"user-linux-guest";
	"user-linux-guest" -> "pallet-rust";
}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("DOT (-want +got):\n%s", diff)
	}
}
