package schema_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"codeberg.org/stagex/sx/cmd/internal/schema"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/graph"
)

// validator reads a schema as editors get it.
func validator(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	s, err := schema.Of(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("file:///schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("file:///schema.json") // which checks it against draft 7 itself
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// validate reads TOML as an editor does, and validates it.
func validate(t *testing.T, v *jsonschema.Schema, text string) error {
	t.Helper()
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return v.Validate(doc)
}

// TestDefinitions validates the package.toml of each definition in trees that are sound.
func TestDefinitions(t *testing.T) {
	trees := []string{"../../../examples", "../edit/testdata/styles"}
	if stagex := os.Getenv("SX_TEST_TREE"); stagex != "" {
		trees = append(trees, stagex)
	}
	v := validator(t, "package.toml")
	for _, tree := range trees {
		files, err := filepath.Glob(filepath.Join(tree, "packages/*/*/package.toml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", tree, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, v, string(data)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		t.Logf("%s: %d files", tree, len(files))
	}
}

// definition loads a package.toml, and returns what is wrong in it, and unknown.
func definition(t *testing.T, text string) (unknown []string, wrong error) {
	t.Helper()
	g, err := graph.Load(t.Context(), fstest.MapFS{
		"packages/core/x/package.toml":  {Data: []byte(text)},
		"packages/core/x/Containerfile": {Data: []byte("FROM scratch AS package-a\n")},
		"packages/core/y/package.toml":  {Data: []byte("[package]\nname = \"y\"\nversion = \"1\"\n")},
		"packages/core/y/Containerfile": {Data: []byte("FROM scratch\n")},
	}, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range g.Definitions() {
		if d.Name == "x" {
			return d.UnknownKeys, nil
		}
	}
	return nil, &graph.BrokenError{Broken: g.Broken()}
}

const sound = `[package]
name = "x"
version = "1.0"
description = "X"
license = "MIT"
website = "https://example.org"
subpackages = ["a"]
platforms = ["linux/amd64"]
[sources.x]
hash = "1111111111111111111111111111111111111111111111111111111111111111"
version = "2"
file = "{version}.tar"
format = "tar"
git_sha = "0123456"
mirrors = ["https://example.org/{file}"]
`

// TestPackageAgrees: the schema marks what graph refuses in one package.toml, or does
// not know, and nothing else.
func TestPackageAgrees(t *testing.T) {
	v := validator(t, "package.toml")
	if unknown, err := definition(t, sound); err != nil || len(unknown) > 0 || validate(t, v, sound) != nil {
		t.Fatalf("%v, %v, %v", unknown, err, validate(t, v, sound))
	}
	for _, c := range []struct{ old, new string }{
		{`name = "x"`, ``},
		{`name = "x"`, `name = 1`},
		{`version = "1.0"`, `version = "a b"`},
		{`version = "1.0"`, `version = ""`},
		{`version = "1.0"`, "version = \"1\"\nversion_from = \"core-y\""},
		{`version = "1.0"`, `version_from = "y"`},
		{`license = "MIT"`, `licence = "MIT"`},
		{`subpackages = ["a"]`, `subpackages = "a"`},
		{`subpackages = ["a"]`, `subpackages = ["a", "a"]`},
		{`["linux/amd64"]`, `["amd64"]`},
		{`["linux/amd64"]`, `["linux/amd64", "linux/amd64"]`},
		{`[sources.x]`, `[sources."a b"]`},
		{`[sources.x]`, `[source.x]`},
		{`hash = "1`, `hash = "A`},
		{`hash = "1`, `hash = "`},
		{`hash`, `sha256`},
		{`version = "2"`, `version = ""`},
		{`file = "{version}.tar"`, `file = ""`},
		{`format = "tar"`, `format = ".tar"`},
		{`"0123456"`, `"v1.0"`},
		{`mirrors = ["https://example.org/{file}"]`, `mirrors = []`},
		{`mirrors = ["https://example.org/{file}"]`, ``},
		{`"https://example.org/{file}"`, `"ftp://example.org/{file}"`},
		{`"https://example.org/{file}"`, `"example.org"`},
	} {
		text := strings.Replace(sound, c.old, c.new, 1)
		unknown, err := definition(t, text)
		if err == nil && len(unknown) == 0 {
			t.Errorf("%s: the loader accepts it", c.new)
		}
		if validate(t, v, text) == nil {
			t.Errorf("%s: the schema accepts it, and the loader says %v %v", c.new, unknown, err)
		}
	}
	for _, new := range []string{`version = "1"` + "\n" + `name = "x"`, ""} {
		text := strings.Replace(sound, "version = \"1.0\"", "", 1)
		text = strings.Replace(text, `name = "x"`, "name = \"x\"\n"+strings.TrimSuffix(new, "\nname = \"x\""), 1)
		if _, err := definition(t, text); err != nil || validate(t, v, text) != nil {
			t.Errorf("%s: %v, %v", text, err, validate(t, v, text))
		}
	}
}

// TestKeys: a key that the parsers know is in the schema, and no other.
func TestKeys(t *testing.T) {
	s, err := schema.Of("package.toml")
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, "[package]", s.Properties["package"], graph.PackageKeys())
	wantKeys(t, "[sources.x]", s.Properties["sources"].Additional.(*schema.Schema), graph.SourceKeys())

	if s, err = schema.Of("stagex.toml"); err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	for _, name := range settings.Names() {
		section, key, _ := strings.Cut(name, ".")
		sections[section] = append(sections[section], key)
	}
	for section, keys := range sections {
		if s.Properties[section] == nil {
			t.Errorf("the schema has no [%s]", section)
			continue
		}
		wantKeys(t, "["+section+"]", s.Properties[section], keys)
	}
	wantKeys(t, "[packages.x]", s.Properties["packages"].Additional.(*schema.Schema), settings.PackageKeys())
	wantKeys(t, "[engines.x]", s.Properties["engines"].Additional.(*schema.Schema), settings.EngineKeys())
	if len(s.Properties) != len(sections)+2 {
		t.Errorf("the schema has %d sections, want %d", len(s.Properties), len(sections)+2)
	}
}

func wantKeys(t *testing.T, where string, s *schema.Schema, want []string) {
	t.Helper()
	for name, p := range s.Properties {
		if !slices.Contains(want, name) {
			t.Errorf("%s: the schema has %s, and no parser knows it", where, name)
		}
		if p.Description == "" {
			t.Errorf("%s: %s is not described", where, name)
		}
	}
	for _, name := range want {
		if s.Properties[name] == nil {
			t.Errorf("%s: the schema lacks %s", where, name)
		}
	}
	if s.Additional != false {
		t.Errorf("%s: the schema allows other keys", where)
	}
}

// TestSettings: every stagex.toml of the documentation, and each default of the
// reference.
func TestSettings(t *testing.T) {
	v := validator(t, "stagex.toml")
	reference, err := os.ReadFile("../../../stagex.toml")
	if err != nil {
		t.Fatal(err)
	}
	defaults := regexp.MustCompile(`(?m)^#([a-z_]+ = .*)$`).ReplaceAllString(string(reference), "$1")
	if n := len(settings.Names()); strings.Count(defaults, " = ") < n {
		t.Fatalf("the reference has %d lines with =, want %d", strings.Count(defaults, " = "), n)
	}
	texts := append(tomlIn(t), defaults,
		"[build]\njobs = \"4\"\nkeep_going = \"true\"\nmemory = 1073741824\n[packages.\"core-llvm\"]\nmemory = \"12GB\"\ntime = \"2h30m\"\n")
	for _, text := range texts {
		if err := validate(t, v, text); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
		if err := load(text); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
	s, _ := schema.Of("stagex.toml")
	var values map[string]map[string]any
	if _, err := toml.Decode(defaults, &values); err != nil {
		t.Fatal(err)
	}
	for _, name := range settings.Names() {
		section, key, _ := strings.Cut(name, ".")
		if got, want := s.Properties[section].Properties[key].Default, values[section][key]; got != want {
			t.Errorf("%s: the schema's default is %#v, the reference's %#v", name, got, want)
		}
	}
}

// load reads a text as the user's file.
func load(text string) error {
	dir, err := os.MkdirTemp("", "sx")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "stagex.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err = settings.Load(settings.Options{UserFile: file, Tree: fstest.MapFS{}, Getenv: func(string) string { return "" }})
	return err
}

// tomlIn returns the blocks of documentation that are settings: they have a section.
func tomlIn(t *testing.T) (texts []string) {
	t.Helper()
	files, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?m)(?:^    .*\n|^\n)+`)
	section := regexp.MustCompile(`(?m)^\[(build|fetch|registries|release|signatures|engine|paths|packages\b.*)\]`)
	for _, file := range append(files, "../../../README.md") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range block.FindAllString(string(data), -1) {
			text = regexp.MustCompile(`(?m)^    `).ReplaceAllString(text, "")
			if section.MatchString(text) {
				texts = append(texts, text)
			}
		}
	}
	if len(texts) == 0 {
		t.Error("no settings were found in docs/")
	}
	return texts
}

// TestSettingsAgree: what the parser refuses of a type, a section or a key the schema
// marks too.
func TestSettingsAgree(t *testing.T) {
	v := validator(t, "stagex.toml")
	for _, text := range []string{
		"[biuld]\njobs = 1\n", "[build]\njob = 1\n", "jobs = 1\n", "build = 1\n", "[build]\njobs = 5000\n", "[build]\njobs = [1]\n",
		"[build]\nprogress = \"loud\"\n", "[engine]\nrunc = \"runc\"\n", "[packages.\"core-x\"]\nram = \"1GB\"\n", "[packages]\nx = 1\n",
	} {
		if load(text) == nil {
			t.Errorf("%q: the parser accepts it", text)
		}
		if validate(t, v, text) == nil {
			t.Errorf("%q: the schema accepts it", text)
		}
	}
	if _, err := schema.Of("other.toml"); err == nil || errors.Unwrap(err) != nil {
		t.Errorf("%v", err)
	}
}
