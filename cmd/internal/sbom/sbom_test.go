package sbom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/package-url/packageurl-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/sbom"
	"codeberg.org/stagex/sx/graph"
)

// schemas are the official ones: SPDX's as it is in testdata/, CycloneDX's as they come with its Go module.
func schemas(t *testing.T) (spdx, cyclonedx *jsonschema.Schema) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	compile := func(url string, files map[string]string) *jsonschema.Schema {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		for url, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.AddResource(url, doc); err != nil {
				t.Fatal(err)
			}
		}
		s, err := c.Compile(url)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const spdxURL, base = "http://spdx.org/rdf/terms/2.3", "http://cyclonedx.org/schema/"
	spdx = compile(spdxURL, map[string]string{spdxURL: "testdata/spdx-2.3.schema.json"})
	cyclonedx = compile(base+"bom-1.6.schema.json", map[string]string{
		base + "bom-1.6.schema.json":  filepath.Join(dir, "bom-1.6.schema.json"),
		base + "spdx.schema.json":     filepath.Join(dir, "spdx.schema.json"),
		base + "jsf-0.82.schema.json": filepath.Join(dir, "jsf-0.82.schemax.json"),
	})
	return spdx, cyclonedx
}

func write(t *testing.T, b sbom.BOM) (spdx, cyclonedx []byte) {
	t.Helper()
	var x, y bytes.Buffer
	if err := b.WriteSPDX(&x); err != nil {
		t.Fatal(err)
	}
	if err := b.WriteCycloneDX(&y); err != nil {
		t.Fatal(err)
	}
	return x.Bytes(), y.Bytes()
}

// written is write, after both were validated.
func written(t *testing.T, b sbom.BOM) (spdx, cyclonedx []byte) {
	t.Helper()
	spdx, cyclonedx = write(t, b)
	first, second := schemas(t)
	validate := func(s *jsonschema.Schema, data []byte) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err == nil {
			err = s.Validate(doc)
		}
		if err != nil {
			t.Errorf("%.2000v", err)
		}
	}
	validate(first, spdx)
	validate(second, cyclonedx)
	return spdx, cyclonedx
}

func load(t *testing.T, dir string) (*graph.Graph, cache.Published) {
	t.Helper()
	g, err := graph.Load(context.Background(), os.DirFS(dir), graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	digests, wrong := cache.LoadDigests(os.DirFS(dir))
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return g, digests
}

var epoch = time.Unix(1, 0)

// The documents are valid, the same each time, and have every output and source of the closure once.
func TestExamples(t *testing.T) { check(t, "../../../examples", "user-shout") }

// The real tree, if there is one.
func TestStageX(t *testing.T) {
	dir := os.Getenv("SX_TEST_TREE")
	if dir == "" {
		t.Skip("SX_TEST_TREE names no StageX checkout")
	}
	check(t, dir, "pallet-rust")
	check(t, dir) // the whole release
}

func check(t *testing.T, dir string, selectors ...string) {
	g, digests := load(t, dir)
	refs, _, err := g.Select(selectors)
	if len(selectors) == 0 {
		refs = g.All()
	}
	if err != nil || len(refs) == 0 {
		t.Fatal(len(refs), err)
	}
	t.Logf("%d outputs, %d in all", len(refs), len(g.Closure(refs)))
	spdx, cyclonedx := written(t, sbom.New(g, refs, digests, epoch))
	g, _ = load(t, dir) // which reads in another order
	for range 3 {
		x, y := write(t, sbom.New(g, refs, digests, epoch))
		if !bytes.Equal(x, spdx) || !bytes.Equal(y, cyclonedx) {
			t.Error("the same tree gives other bytes")
		}
	}
	var s struct {
		Packages []struct {
			Name, SPDXID string
			Checksums    []struct{ ChecksumValue string }
			ExternalRefs []struct{ ReferenceType, ReferenceLocator string }
		}
		Relationships []struct{ SpdxElementID, RelatedSpdxElement, RelationshipType string }
	}
	decode(t, spdx, &s)
	ids, names := map[string]bool{"SPDXRef-DOCUMENT": true}, map[string]int{}
	for _, p := range s.Packages {
		if ids[p.SPDXID] {
			t.Errorf("%s is there twice", p.SPDXID)
		}
		ids[p.SPDXID] = true
		names[p.Name]++
		for _, r := range p.ExternalRefs {
			if r.ReferenceType == "purl" {
				if _, err := packageurl.FromString(r.ReferenceLocator); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for _, r := range s.Relationships {
		if !ids[r.SpdxElementID] || !ids[r.RelatedSpdxElement] {
			t.Errorf("a relationship leads nowhere: %+v", r)
		}
	}
	var c struct {
		Metadata   struct{ Component struct{ Name string } }
		Components []struct {
			Name string
			Ref  string `json:"bom-ref"`
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	decode(t, cyclonedx, &c)
	for _, ref := range g.Closure(refs) {
		if names[ref.String()] != 1 {
			t.Errorf("SPDX has %s %d times", ref, names[ref.String()])
		}
		if !strings.Contains(string(spdx), digests[ref.String()].Hex()) || !strings.Contains(string(cyclonedx), digests[ref.String()].Hex()) {
			t.Errorf("the digest of %s is missing", ref)
		}
		for _, source := range g.Output(ref).Definition.Sources {
			for _, doc := range [][]byte{spdx, cyclonedx} {
				for _, want := range append([]string{source.Hash.String()}, source.Mirrors...) {
					if !bytes.Contains(doc, []byte(want)) {
						t.Errorf("%s of a source of %s is missing", want, ref)
					}
				}
			}
		}
	}
	if len(refs) == 1 && (c.Metadata.Component.Name != refs[0].String() || slices.ContainsFunc(c.Components, func(x struct {
		Name string
		Ref  string `json:"bom-ref"`
	}) bool {
		return x.Name == refs[0].String()
	})) {
		t.Errorf("CycloneDX is about %q", c.Metadata.Component.Name)
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// Names and texts that another format would stumble over leave the documents valid.
func TestHostileFields(t *testing.T) {
	tree := fstest.MapFS{
		"packages/core/a_b/package.toml": {Data: []byte(`[package]
name = "a_b"
version = "1.0_x"
description = "\u001b[2J\"<script>"
license = "  "
website = "javascript:alert(1)"
[sources."A_b-c"]
hash = "0000000000000000000000000000000000000000000000000000000000000001"
mirrors = ["https://example.org/a%20b.tar", "https://example.org/x?y=1&z=%3Cb%3E"]
`)},
		"packages/core/a_b/Containerfile": {Data: []byte("FROM debian@sha256:" + strings.Repeat("a", 64) + " AS x\nFROM scratch\nCOPY --from=x . /\n")},
	}
	g, err := graph.Load(context.Background(), tree, graph.LoadOptions{Foreign: func(graph.Image) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.All()) != 1 {
		t.Fatalf("%+v %v", g.Broken()[0].Errors[0], g.Warnings())
	}
	spdx, cyclonedx := written(t, sbom.New(g, g.All(), nil, epoch))
	for _, doc := range [][]byte{spdx, cyclonedx} {
		if bytes.Contains(doc, []byte("javascript:")) {
			t.Error("a website that is no URL is there")
		}
		if !bytes.Contains(doc, []byte("docker.io/library/debian")) {
			t.Error("an image of another registry is missing")
		}
	}
}

// A claim that is an SPDX expression is one; any other is named beside its text, and the
// documents stay valid. Every LicenseRef has its text.
func TestLicenses(t *testing.T) {
	for claim, want := range map[string]string{
		"MIT":                 "MIT",
		" Apache-2.0 OR MIT ": "Apache-2.0 OR MIT",
		"Apache-2.0 WITH LLVM-exception AND (MIT OR TCL)": "Apache-2.0 WITH LLVM-exception AND (MIT OR TCL)",
		"GPL-2.0+":                              "GPL-2.0+",
		"LicenseRef-Sudo":                       "LicenseRef-Sudo",
		"MIT AND LicenseRef-a.b":                "MIT AND LicenseRef-a.b",
		"":                                      "NOASSERTION",
		"MIT, BSD":                              "LicenseRef-MIT--BSD",
		"Frobnicate-1.0":                        "LicenseRef-Frobnicate-1.0",
		"MIT AND":                               "LicenseRef-MIT-AND",
		"((MIT":                                 "LicenseRef---MIT",
		"MIT WITH nothing":                      "LicenseRef-MIT-WITH-nothing",
		"DocumentRef-x:LicenseRef-y":            "LicenseRef-DocumentRef-x-LicenseRef-y",
		"\\u001b[2J\\\"<b>\\u202e":              "LicenseRef-",
		strings.Repeat("(", 3000):               "LicenseRef----",
		strings.Repeat("MIT AND ", 999) + "MIT": "LicenseRef-MIT-AND-MIT",
	} {
		tree := fstest.MapFS{
			"packages/core/a/package.toml":  {Data: []byte("[package]\nname = \"a\"\nlicense = \"" + claim + "\"\n")},
			"packages/core/a/Containerfile": {Data: []byte("FROM scratch\nCOPY . /\n")},
		}
		g, err := graph.Load(context.Background(), tree, graph.LoadOptions{})
		if err != nil || len(g.All()) != 1 {
			t.Fatal(claim, err)
		}
		spdx, cyclonedx := written(t, sbom.New(g, g.All(), nil, epoch))
		var s struct {
			Packages                   []struct{ LicenseDeclared string }
			HasExtractedLicensingInfos []struct{ LicenseID, ExtractedText string }
		}
		decode(t, spdx, &s)
		got := s.Packages[0].LicenseDeclared
		if got != want && !(strings.HasPrefix(want, "LicenseRef-") && strings.HasPrefix(got, want) && len(got) < 200) {
			t.Errorf("%.80q: got %q", claim, got)
		}
		for _, ref := range regexp.MustCompile(`LicenseRef-[A-Za-z0-9.-]+`).FindAllString(got, -1) {
			if len(s.HasExtractedLicensingInfos) != 1 || s.HasExtractedLicensingInfos[0].LicenseID != ref {
				t.Errorf("%.80q: %s has no text: %v", claim, ref, s.HasExtractedLicensingInfos)
			}
		}
		if expression := bytes.Contains(cyclonedx, []byte(`"expression"`)); expression != (got == want && claim != "" && got != "LicenseRef-Frobnicate-1.0") {
			t.Errorf("%.80q: CycloneDX has an expression: %t", claim, expression)
		}
	}
}
