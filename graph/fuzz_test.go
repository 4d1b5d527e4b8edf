package graph_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"core-rust", "user-gen_initramfs", "pallet-a--b.c", "core-", "core-..", "x-y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := graph.ParseRef(s)
		if err != nil {
			if r != (graph.Ref{}) {
				t.Errorf("a value with an error: %v", r)
			}
			return
		}
		if r.String() != s {
			t.Errorf("ParseRef(%q) says %q", s, r)
		}
		if filepath.Base(s) != s || strings.ContainsAny(s, "/\\:@ \n\x1b") {
			t.Errorf("ParseRef(%q): no name for a folder and an image", s)
		}
	})
}

// seeds adds what upstream's definitions hold, where a checkout is at hand.
func seeds(f *testing.F, name string) {
	if tree := os.Getenv(treeVariable); tree != "" {
		paths, _ := filepath.Glob(filepath.Join(tree, "packages", "*", "*", name))
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
}

// FuzzManifest: whatever package.toml says, a definition that loads stays in its
// folders.
func FuzzManifest(f *testing.F) {
	seeds(f, "package.toml")
	f.Add(withSource(hashLine, mirrorLine))
	f.Add(withSource(hashLine, `version = "1.2.3-rc1"`, `format = "tar.xz"`, `file = "{version_dash}.{format}"`, `mirrors = ["https://example.org/{file}"]`))
	f.Add("[package]\nname = \"x\"\nsubpackages = [\"one\", \"two\"]\nplatforms = [\"linux/386\"]\nversion_from = \"core-base\"\n")
	f.Fuzz(func(t *testing.T, manifest string) {
		g, err := loadOne(manifest, "FROM scratch AS package-one\nFROM stagex/core-base AS package-two\n")
		if err != nil {
			checkPrintable(t, err)
			return
		}
		for _, o := range g.Outputs() {
			if r, err := graph.ParseRef(o.Ref.String()); err != nil || r != o.Ref {
				t.Errorf("output %#v: %v", o.Ref, err)
			}
			for _, s := range o.Definition.Sources {
				if filepath.Base(s.File) != s.File || s.Path != o.Definition.Fetch()+"/"+s.File {
					t.Errorf("source %q lies at %q", s.File, s.Path)
				}
				if len(s.Mirrors) == 0 || s.Hash == (graph.Hash{}) && !strings.Contains(manifest, strings.Repeat("0", 64)) {
					t.Errorf("source %+v", s)
				}
			}
			for arg, value := range o.Request(nil).BuildArgs {
				if strings.ContainsAny(arg, "= \n") || strings.ContainsAny(value, " \n\x1b") {
					t.Errorf("build argument %q=%q", arg, value)
				}
			}
		}
	})
}

// FuzzContainerfile: whatever the Containerfile says, one that loads needs
// nothing but known outputs.
func FuzzContainerfile(f *testing.F) {
	seeds(f, "Containerfile")
	f.Add("FROM stagex/core-base AS a\nCOPY --chmod=1 --from=stagex/core-other . /\nRUN --mount=from=a,target=/x <<EOF\ntrue\nEOF\n")
	f.Add("ARG A=core-base\nFROM --platform=$BUILDPLATFORM stagex/${A} AS b\nONBUILD COPY --from=a . /\nADD fetch/$X .\n")
	f.Add("FROM stagex/\x19\x1b[31mA")
	f.Add("# escape=`\n# check=skip=all\nFROM scratch\nCOPY <<\"A\" <<-B /\nA\nB\n")
	f.Fuzz(func(t *testing.T, text string) {
		tree := graphtest.Tree(neighbours)
		tree["packages/core/x/Containerfile"] = &fstest.MapFile{Data: []byte(text)}
		g, err := loadTree(tree)
		if err != nil {
			checkPrintable(t, err)
			return
		}
		for _, dep := range g.Output(graph.Ref{Stage: "core", Name: "x"}).Deps {
			if g.Output(dep) == nil {
				t.Errorf("depends on %v, which is no output", dep)
			}
		}
	})
}

// checkPrintable: no error may paint on a terminal.
func checkPrintable(t *testing.T, err error) {
	t.Helper()
	for _, c := range err.Error() {
		if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 {
			t.Errorf("the error holds %q: %q", c, err)
		}
	}
}
