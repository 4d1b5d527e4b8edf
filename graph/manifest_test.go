package graph_test

import (
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
	"github.com/google/go-cmp/cmp"
)

// withSource is a package.toml whose first source line is line 5.
func withSource(lines ...string) string {
	return "[package]\nname = \"x\"\nversion = \"1.2\"\n[sources.main]\n" + strings.Join(lines, "\n") + "\n"
}

const (
	hashLine   = `hash = "` + hash + `"`
	mirrorLine = `mirrors = ["https://example.org/x.tgz"]`
)

const manifestFile = "packages/core/x/package.toml:"

// TestManifestErrors names everything that package.toml can say wrongly.
func TestManifestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		manifest string
		want     []string // without the file's name
	}{
		"syntax":             {"[package]\nname = \"x\n", []string{`2: reading "package.name": strings cannot contain newlines`}},
		"duplicate key":      {"[package]\nname = \"x\"\nname = \"x\"\n", []string{`3: reading "package.name": Key 'package.name' has already been defined.`}},
		"empty":              {"", []string{` name is missing from [package]`}},
		"no name":            {"[package]\n", []string{`1: name is missing from [package]`}},
		"other name":         {"[package]\n\nname = \"y\"\n", []string{`3: name "y": want the folder's, "x"`}},
		"type":               {"[package]\nname = \"x\"\nversion = 1.2\n", []string{`3: version: want a string, got a float`}},
		"type in list":       {"[package]\nname = \"x\"\nplatforms = [1]\n", []string{`3: platforms: want a list of strings, got an integer`}},
		"table for a string": {"[package]\nname = \"x\"\n[package.version]\n", []string{`3: version: want a string, got a table`}},
		"tables":             {"[[package]]\nname = \"x\"\n", []string{`1: package: want a table, got a list of tables`}},

		"sources":        {"sources = 1\n[package]\nname = \"x\"\n", []string{`1: sources: want a table, got an integer`}},
		"source":         {"sources.a = true\n[package]\nname = \"x\"\n", []string{`1: a: want a table, got a boolean`}},
		"list":           {"[package]\nname = \"x\"\nsubpackages = \"a\"\n", []string{`3: subpackages: want a list of strings, got a string`}},
		"types and keys": {"[package]\nname = [\"x\"]\nversion = 2020-01-01\nfoo = 1\n[sources.a]\nmirrors = 1\n", []string{`2: name: want a string, got a list`, `3: version: want a string, got a date`, `6: mirrors: want a list of strings, got an integer`}},
		"below a string": {"[package]\nname.x = 1\n", []string{`2: name: want a string, got a table`}},

		"version":               {"[package]\nname = \"x\"\nversion = \"1/2\"\n", []string{`3: version "1/2" is not a valid image tag: want up to 128 of letters, digits, . _ -, not beginning with . or -`}},
		"empty version":         {"[package]\nname = \"x\"\nversion = \"\"\n", []string{`3: version "" is not a valid image tag: want up to 128 of letters, digits, . _ -, not beginning with . or -`}},
		"version and from":      {"[package]\nname = \"x\"\nversion = \"1\"\nversion_from = \"core-base\"\n", []string{`4: version_from "core-base": there is a version too`}},
		"version_from unknown":  {"[package]\nname = \"x\"\nversion_from = \"core-bsae\"\n", []string{`3: version_from: unknown output "core-bsae"; did you mean core-base?`}},
		"version_from bare":     {"[package]\nname = \"x\"\nversion_from = \"base\"\n", []string{`3: version_from: parsing output "base": want <stage>-<name>, the stage one of bootstrap, core, pallet, user`}},
		"version_from itself":   {"[package]\nname = \"x\"\nversion_from = \"core-x\"\n", []string{`3: cycle of version_from: core-x -> core-x`}},
		"platform":              {"[package]\nname = \"x\"\nplatforms = [\"amd64\"]\n", []string{`3: platform "amd64": want <os>/<architecture>, such as linux/amd64`}},
		"platform twice":        {"[package]\nname = \"x\"\nplatforms = [\"linux/386\", \"linux/386\"]\n", []string{`3: platform "linux/386": named twice`}},
		"subpackage leaves":     {"[package]\nname = \"x\"\nsubpackages = [\"../y\"]\n", []string{`3: subpackage "../y": not a repository component: want lower-case letters and digits, with single . or _, or hyphens, between them`, `3: subpackage "../y": the Containerfile has no stage "package-../y"`}},
		"subpackage twice":      {"[package]\nname = \"x\"\nsubpackages = [\"a\", \"a\"]\n", []string{`3: subpackage "a": named twice`, `3: subpackage "a": the Containerfile has no stage "package-a"`}},
		"subpackage, no stage":  {"[package]\nname = \"x\"\nsubpackages = [\"on\"]\n", []string{`3: subpackage "on": the Containerfile has no stage "package-on"; did you mean package-one?`}},
		"subpackage taken":      {"[package]\nname = \"x\"\nsubpackages = [\"base\", \"one\"]\n", []string{`3: output "core-base": packages/core/base claims it too`, `3: subpackage "base": the Containerfile has no stage "package-base"`}},
		"subpackage upper case": {"[package]\nname = \"x\"\nsubpackages = [\"One\"]\n", []string{`3: subpackage "One": not a repository component: want lower-case letters and digits, with single . or _, or hyphens, between them`, `3: subpackage "One": the Containerfile has no stage "package-One"; did you mean package-one?`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadOne(test.manifest, "FROM scratch AS package-one\nFROM scratch\n")
			want := located(manifestFile, test.want)
			if name == "subpackage taken" {
				want = append([]string{`packages/core/base/package.toml:2: output "core-base": packages/core/x claims it too`}, want...)
			}
			checkError(t, err, want...)
		})
	}
}

// TestUnknownKeys: they are warnings, and count for nothing.
func TestUnknownKeys(t *testing.T) {
	const nothing = ", which changes nothing in what sx builds"
	for name, test := range map[string]struct {
		manifest, warning string
		keys              []string
	}{
		"near":          {"[package]\nname = \"x\"\nverison = \"1\"\n", `3: unknown key "package.verison"` + nothing + `; did you mean version?`, []string{"package.verison"}},
		"far":           {"[package]\nname = \"x\"\nmaintainer = \"1\"\n", `3: unknown key "package.maintainer"` + nothing, []string{"package.maintainer"}},
		"in other case": {"[package]\nname = \"x\"\nVersion = \"2\"\nplatformS = 1\n", `3: unknown key "package.Version"` + nothing + `; did you mean version? (and 1 key more, in 1 file)`, []string{"package.Version", "package.platformS"}},
		"table":         {"[package]\nname = \"x\"\n\n[source.x]\nhash = \"\"\n", `4: unknown key "source"` + nothing + `; did you mean sources?`, []string{"source"}},
		"top":           {"name = \"x\"\n[package]\nname = \"x\"\n", `1: unknown key "name"` + nothing, []string{"name"}},
		"of a source":   {withSource(hashLine, `mirror = []`, mirrorLine), `6: unknown key "sources.main.mirror"` + nothing + `; did you mean mirrors?`, []string{"sources.main.mirror"}},
		"escapes":       {"[package]\nname = \"x\"\n\"\\u001b[31m\" = 1\n", `3: unknown key "package.\"\\u001b[31m\""` + nothing, []string{`package."\u001b[31m"`}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := loadOne(test.manifest, "FROM scratch\n")
			if err != nil {
				t.Fatal(err)
			}
			o := g.Output(graph.Ref{Stage: "core", Name: "x"})
			if diff := cmp.Diff(test.keys, o.Definition.UnknownKeys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{manifestFile + test.warning}, g.Warnings()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if name != "of a source" && o.Version != "" || len(o.Definition.Platforms) > 0 {
				t.Errorf("%+v", o.Definition)
			}
		})
	}
}

// TestNewerTOML: what upstream's own parser refuses is a warning.
func TestNewerTOML(t *testing.T) {
	g, err := loadOne("\ufeff[package]\nname = \"\\x78\"\n", "FROM scratch\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{manifestFile + "1: a byte order mark: upstream's parser, of TOML 1.0, refuses the file (and 1 such line more, in 1 file)"}
	if diff := cmp.Diff(want, g.Warnings()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestSourceErrors(t *testing.T) {
	const source = `source "main": `
	for name, test := range map[string]struct {
		lines []string
		want  []string
	}{
		"no hash":         {[]string{mirrorLine}, []string{`4: ` + source + `hash is missing`}},
		"short hash":      {[]string{mirrorLine, `hash = "abc"`}, []string{`6: ` + source + `parsing sha256 "abc": want 64 hexadecimal digits, got 3 characters`}},
		"upper-case hash": {[]string{`hash = "` + strings.ToUpper(hash) + `"`, mirrorLine}, []string{`5: ` + source + `parsing sha256 "` + strings.ToUpper(hash) + `": 'E' is not a lower-case hexadecimal digit`}},
		"no mirrors":      {[]string{hashLine}, []string{`4: ` + source + `want at least one mirror`}},
		"empty mirrors":   {[]string{hashLine, `mirrors = []`}, []string{`6: ` + source + `want at least one mirror`}},
		"ftp":             {[]string{hashLine, `mirrors = ["ftp://example.org/x.tgz"]`}, []string{`6: ` + source + `mirror "ftp://example.org/x.tgz": want http:// or https://`}},
		"local file":      {[]string{hashLine, `mirrors = ["/etc/passwd"]`}, []string{`6: ` + source + `mirror "/etc/passwd": want http:// or https://`}},
		"no host":         {[]string{hashLine, `mirrors = ["https:///x.tgz"]`}, []string{`6: ` + source + `mirror "https:///x.tgz": has no host`}},
		"bad URL":         {[]string{hashLine, `mirrors = ["https://[/x.tgz"]`}, []string{`6: ` + source + `mirror "https://[/x.tgz": not a URL`}},
		"space in URL":    {[]string{hashLine, mirrorLine[:len(mirrorLine)-1] + `, "https://example.org/a b"]`}, []string{`6: ` + source + `mirror "https://example.org/a b": holds a space or a character that cannot be printed`}},

		"placeholder":           {[]string{hashLine, `file = "x-{verison}"`, mirrorLine}, []string{`6: ` + source + `expanding "x-{verison}": unknown placeholder {verison}; did you mean {version}?`}},
		"placeholder far":       {[]string{hashLine, `file = "x-{arch}"`, mirrorLine}, []string{`6: ` + source + `expanding "x-{arch}": unknown placeholder {arch}`}},
		"placeholder formatted": {[]string{hashLine, `file = "x-{version:>9}"`, mirrorLine}, []string{`6: ` + source + `expanding "x-{version:>9}": unknown placeholder {version:>9}`}},
		"empty placeholder":     {[]string{hashLine, `file = "x-{}"`, mirrorLine}, []string{`6: ` + source + `expanding "x-{}": unknown placeholder {}`}},
		"placeholder escapes":   {[]string{hashLine, `file = "{\u001b[31m}"`, mirrorLine}, []string{`6: ` + source + `expanding "{\x1b[31m}": unknown placeholder {\x1b[31m}`}},
		"open brace":            {[]string{hashLine, `file = "x-{version"`, mirrorLine}, []string{`6: ` + source + `expanding "x-{version": unpaired brace`}},
		"closing brace":         {[]string{hashLine, `file = "x-}"`, mirrorLine}, []string{`6: ` + source + `expanding "x-}": unpaired brace`}},
		"nested braces":         {[]string{hashLine, `file = "{{version}}"`, mirrorLine}, []string{`6: ` + source + `expanding "{{version}}": unpaired brace`}},
		"file in file":          {[]string{hashLine, `file = "{file}"`, mirrorLine}, []string{`6: ` + source + `expanding "{file}": {file} would name itself`}},
		"file from mirror":      {[]string{hashLine, `mirrors = ["https://example.org/{file}"]`}, []string{`6: ` + source + `expanding "{file}": {file} would name itself`}},
		"placeholder in a URL":  {[]string{hashLine, `mirrors = ["https://example.org/{major}/x.tgz"]`}, []string{`6: ` + source + `expanding "https://example.org/{major}/x.tgz": unknown placeholder {major}`}},

		"parent":          {[]string{hashLine, `file = "../x"`, mirrorLine}, []string{`6: ` + source + `file "../x": a name, not a path`}},
		"dots":            {[]string{hashLine, `file = ".."`, mirrorLine}, []string{`6: ` + source + `file "..": begins with a dot, so upstream would not show it to the build`}},
		"absolute":        {[]string{hashLine, `file = "/etc/passwd"`, mirrorLine}, []string{`6: ` + source + `file "/etc/passwd": a name, not a path`}},
		"backslash":       {[]string{hashLine, `file = 'a\b'`, mirrorLine}, []string{`6: ` + source + `file "a\\b": a name, not a path`}},
		"empty file":      {[]string{hashLine, `file = ""`, mirrorLine}, []string{`6: ` + source + `the file's name is empty`}},
		"no last segment": {[]string{hashLine, `mirrors = ["https://example.org/dir/"]`}, []string{`6: ` + source + `the file's name is empty`}},
		"no path":         {[]string{hashLine, `mirrors = ["https://example.org"]`}, []string{`6: ` + source + `the file's name is empty`}},
		"via format":      {[]string{hashLine, `format = "../../x"`, `file = "a.{format}"`, mirrorLine}, []string{`6: ` + source + `reading "../../x": want the ending of an archive's name, such as tar.gz`}},
		"via version":     {[]string{hashLine, `version = "../../x"`, `file = "a-{version}"`, mirrorLine}, []string{`6: ` + source + `version "../../x" is not a valid image tag: want up to 128 of letters, digits, . _ -, not beginning with . or -`}},
		"long file":       {[]string{hashLine, `file = "` + strings.Repeat("a", 256) + `"`, mirrorLine}, []string{`6: ` + source + `file "` + strings.Repeat("a", 256) + `": longer than 255 bytes`}},
		"escape in file":  {[]string{hashLine, `file = "a\u001b[31m"`, mirrorLine}, []string{`6: ` + source + `file "a\x1b[31m": holds a space or a character that cannot be printed`}},

		"empty source version": {[]string{hashLine, `version = ""`, mirrorLine}, []string{`6: ` + source + `version is empty`}},
		"git_sha":              {[]string{hashLine, `git_sha = "main"`, mirrorLine}, []string{`6: ` + source + `reading "main": want a commit in lower-case hexadecimal digits`}},
		"SOURCE argument": {[]string{hashLine, `version = "3.4"`, `file = "x-{version_major}.tgz"`, mirrorLine}, []string{
			`7: ` + source + `MAIN_SOURCE cannot be told: of a source with its own version, the file may use {version}, {version_dash}, {version_under} and {format} only: expanding "x-{version_major}.tgz": {version_major} has no value here`}},
		"key":       {[]string{hashLine, mirrorLine, `[sources."a b"]`, hashLine, mirrorLine}, []string{`7: source "a b": the key must be letters, digits, _ and -, because it names build arguments`}},
		"same key":  {[]string{hashLine, mirrorLine, `[sources.MAIN]`, hashLine, mirrorLine}, []string{`4: source "main": its build arguments are those of "MAIN"`}},
		"same file": {[]string{hashLine, mirrorLine, `[sources.z]`, `hash = "` + strings.Repeat("0", 64) + `"`, mirrorLine}, []string{`7: source "z": its file "x.tgz" is also that of "main", with another hash`}},
		"several problems": {[]string{`hash = "0"`, `file = "/"`, `mirrors = []`, `colour = "red"`}, []string{
			`5: ` + source + `parsing sha256 "0": want 64 hexadecimal digits, got 1 characters`, `7: ` + source + `want at least one mirror`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadOne(withSource(test.lines...), "FROM scratch\n")
			checkError(t, err, located(manifestFile, test.want)...)
		})
	}
}

// TestSourceWithoutVersion: what upstream would make "None" is an error.
func TestSourceWithoutVersion(t *testing.T) {
	lines := strings.Replace(withSource(hashLine, `file = "x-{version_dash}"`, mirrorLine), "version = \"1.2\"\n", "", 1)
	_, err := loadOne(lines, "FROM scratch\n")
	checkError(t, err, manifestFile+`5: source "main": expanding "x-{version_dash}": {version_dash} has no value: neither the source nor the package has a version`)
}

// TestSameFileSameHash: one file under two keys is one file.
func TestSameFileSameHash(t *testing.T) {
	if _, err := loadOne(withSource(hashLine, mirrorLine, `[sources.again]`, hashLine, mirrorLine), "FROM scratch\n"); err != nil {
		t.Error(err)
	}
}

func located(file string, lines []string) []string {
	var out []string
	for _, line := range lines {
		out = append(out, file+line)
	}
	return out
}
