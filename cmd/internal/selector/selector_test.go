package selector

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLocal(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	for _, dir := range []string{"packages/core/rust/files", "packages/core/zlib", "out/core-rust", "src/core/zlib"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "packages/core/rust/Containerfile"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(tree, other); err != nil {
		t.Fatal(err)
	}
	plain := func(s string) bool { return s == "rust" || s == "core/zlib" || s == "core-rust" }
	for _, c := range []struct{ base, arg, want string }{
		{"packages/core/rust", ".", "packages/core/rust"},
		{"packages/core/rust", "..", "packages/core"},
		{"packages/core/rust", "Containerfile", "packages/core/rust/Containerfile"},
		{"packages/core/rust/files", "../../zlib/", "packages/core/zlib"},
		{"packages/core", "rust", "rust"}, // the name in every stage
		{"packages/core", "rust/", "packages/core/rust"},
		{"packages/core", "./rust", "packages/core/rust"},
		{"packages", "core/zlib", "core/zlib"},
		{"src", "core/zlib", "core/zlib"},
		{"src", "./core/zlib", "./core/zlib"}, // not a place of definitions
		{"out", "core-rust/", "out/core-rust"},
		{".", ".", "."},
		{"packages", ".", "packages"},
		{".", "./packages/core/nosuch", "./packages/core/nosuch"},
		{".", "../tree/packages/core/rust", "packages/core/rust"},
		{".", "../..", "../.."},
		{".", filepath.Join(tree, "packages/core/rust"), "packages/core/rust"},
		{".", filepath.Join(other, "packages/core/rust"), "packages/core/rust"},
		{".", "", ""},
		{"packages/core", "core-*", "core-*"},
	} {
		got := Local(tree, filepath.Join(tree, c.base), []string{c.arg}, plain)
		if !slices.Equal(got, []string{c.want}) {
			t.Errorf("in %s, %q: %q, want %q", c.base, c.arg, got, c.want)
		}
	}
}

func TestCommand(t *testing.T) {
	for word, want := range map[string]string{
		"pull": "sx preseed", "clean": "sx gc", "Load": "sx import", "why-depends": "sx why",
		"import-core-rust": "sx import core-rust", "core-rust": "sx build core-rust",
		"biuld": "", "rust": "", "import-": "", "": "",
	} {
		if got := Command(word); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
