package graph_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
)

func TestParseRef(t *testing.T) {
	for _, s := range []string{"core-rust", "bootstrap-stage0", "pallet-clang-gnu-busybox", "user-gen_initramfs", "core-a--b", "user-x.y"} {
		r, err := graph.ParseRef(s)
		if err != nil {
			t.Errorf("ParseRef(%q): %v", s, err)
		}
		if r.String() != s {
			t.Errorf("ParseRef(%q).String() = %q", s, r)
		}
	}
	r, _ := graph.ParseRef("user-linux-guest-net")
	if want := (graph.Ref{Stage: "user", Name: "linux-guest-net"}); r != want {
		t.Errorf("got %#v, want %#v", r, want)
	}
}

func TestParseRefRefuses(t *testing.T) {
	for _, s := range []string{
		"", "core", "core-", "-rust", "rust", "extra-rust", "Core-rust", "core-Rust", "core-../x", "core-a/b",
		"core-a b", "core-a\x1b[31m", "core-.a", "core-a.", "core-a..b", "core-a___b", "core-a:1", "core-ü",
		"core-" + strings.Repeat("a", 200), "core-a\n",
	} {
		r, err := graph.ParseRef(s)
		if err == nil || r != (graph.Ref{}) {
			t.Errorf("ParseRef(%q) = %v, %v; want an error alone", s, r, err)
			continue
		}
		if len(s) < 30 && strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("ParseRef(%q): the error holds control characters: %q", s, err)
		}
	}
}

func TestRefOrder(t *testing.T) {
	refs := []graph.Ref{{Stage: "user", Name: "a"}, {Stage: "core", Name: "b-a"}, {Stage: "core", Name: "b"}, {Stage: "core", Name: "b.a"}, {Stage: "bootstrap", Name: "z"}, {Stage: "core", Name: "b_a"}}
	byRef := slices.Clone(refs)
	slices.SortFunc(byRef, graph.Ref.Compare)
	text := names(refs)
	slices.Sort(text)
	if got := names(byRef); !slices.Equal(got, text) {
		t.Errorf("Compare sorts %v, bytes sort %v", got, text)
	}
	if !slices.IsSorted(graph.Stages) {
		t.Errorf("stages are not sorted: %v", graph.Stages)
	}
}

func TestHash(t *testing.T) {
	h, err := graph.ParseHash(hash)
	if err != nil || h.String() != hash {
		t.Fatalf("ParseHash = %v, %v", h, err)
	}
	for _, s := range []string{"", hash[1:], hash + "0", strings.ToUpper(hash), "g" + hash[1:], "sha256:" + hash, strings.Repeat("é", 32)} {
		if h, err := graph.ParseHash(s); err == nil || h != (graph.Hash{}) {
			t.Errorf("ParseHash(%q) = %v, %v; want an error alone", s, h, err)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	type value struct {
		Ref  graph.Ref
		Hash graph.Hash
	}
	text := `{"Ref":"core-rust","Hash":"` + hash + `"}`
	var v value
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(v)
	if err != nil || string(back) != text {
		t.Errorf("got %s, %v; want %s", back, err, text)
	}
	for _, bad := range []string{`{"Ref":"rust"}`, `{"Hash":"00"}`} {
		if err := json.Unmarshal([]byte(bad), new(value)); err == nil {
			t.Errorf("unmarshalling %s: no error", bad)
		}
	}
}
