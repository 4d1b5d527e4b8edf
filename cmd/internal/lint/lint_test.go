package lint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/lint"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// whole is the fields of [package] that readers want.
const whole = "[package]\nname = \"x\"\nversion = \"1.2.3\"\ndescription = \"An x\"\nlicense = \"MIT\"\nwebsite = \"https://x.example/\"\n"

const source = "[sources.x]\nhash = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n" +
	"file = \"x-{version}.tar\"\nmirrors = [\"https://a.example/{file}\", \"https://b.example/{file}\"]\n"

// neighbours are outputs to depend on.
const neighbours = `-- packages/core/base/package.toml --
[package]
name = "base"
description = "A base"
license = "MIT"
website = "https://base.example/"
-- packages/core/base/Containerfile --
FROM scratch
-- packages/user/late/package.toml --
[package]
name = "late"
description = "Late"
license = "MIT"
website = "https://late.example/"
-- packages/user/late/Containerfile --
FROM scratch
`

// findings returns "rule:line", or with messages "rule:line:message", of core/x.
func findings(t *testing.T, manifest, containerfile string, messages bool) string {
	t.Helper()
	tree := graphtest.Tree(neighbours + "-- packages/core/x/package.toml --\n" + manifest + "-- packages/core/x/Containerfile --\n" + containerfile)
	g, err := graph.Load(context.Background(), tree, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := lint.Run(context.Background(), lint.Subject{Tree: tree, Definitions: g.Definitions(), Broken: g.Broken(), Graph: g, Folders: true})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, f := range all {
		s := fmt.Sprintf("%s:%d", f.Rule, f.Line)
		if messages {
			s += ":" + f.Message
		}
		said = append(said, s)
	}
	return strings.Join(said, " ")
}

// Each rule finds what it is about, at its line, and nothing beside it.
func TestRules(t *testing.T) {
	plain := "FROM scratch\n"
	for name, c := range map[string]struct{ manifest, containerfile, want string }{
		"nothing":              {whole, plain, ""},
		"broken":               {whole + "[package\n", plain, "broken-definition:8"},
		"missing":              {"[package]\nname = \"x\"\ndescription = \"\"\nlicense = \"todo\"\n", plain, "missing-field:1 missing-field:3 missing-field:4"},
		"unknown key":          {whole + "licence = \"MIT\"\n", plain, "unknown-key:7"},
		"plain http":           {whole + strings.Replace(source, "https://b", "http://b", 1), "FROM scratch\nADD fetch/x-1.2.3.tar .\n", "plain-http:10"},
		"one mirror":           {whole + strings.Replace(source, ", \"https://b.example/{file}\"", "", 1), "FROM scratch\nADD fetch/x-1.2.3.tar .\n", "single-mirror:10"},
		"mirrors disagree":     {whole + "[sources.x]\nhash = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\nmirrors = [\"https://a.example/x.tar\", \"https://b.example/v1.tar\"]\n", "FROM scratch\nADD fetch .\n", "mirror-file:9"},
		"unused source":        {whole + source, "FROM scratch\nADD fetch/y.tar .\n", "unused-source:7"},
		"used by a variable":   {whole + source, "FROM scratch\nARG VERSION\nADD fetch/x-${VERSION}.tar .\n", ""},
		"used by a pattern":    {whole + source, "FROM scratch\nADD fetch/*.tar .\n", ""},
		"used as a folder":     {whole + source, "FROM scratch\nCOPY fetch/ .\n", ""},
		"used with the folder": {whole + source, "FROM scratch\nCOPY . .\n", ""},
		"used as a context":    {whole + source, "FROM scratch\nCOPY --from=fetch . .\n", ""},
		"used by a mount":      {whole + source, "FROM stagex/core-base\nRUN --network=none --mount=type=bind,from=fetch,target=/f cat /f/*\n", ""},
		"unused ARG":           {whole, "FROM scratch\nARG VERSION\nENV A=1\n", "unused-arg:2"},
		"ARG of another stage": {whole, "FROM scratch AS a\nARG VERSION\nFROM scratch\nARG VERSION\nENV A=$VERSION\n", "unused-arg:2"},
		"ARG of a later stage": {whole, "FROM scratch AS a\nARG VERSION\nFROM a\nENV A=$VERSION\n", ""},
		"ARG in a script":      {whole, "FROM stagex/core-base\nARG VERSION\nRUN --network=none <<EOF\necho $VERSION\nEOF\n", ""},
		"ARG in another":       {whole, "FROM scratch\nARG VERSION\nARG A=x-${VERSION}\nENV B=$A\n", ""},
		"a longer name":        {whole, "FROM scratch\nARG VERSION\nARG VERSION_DASH\nENV A=$VERSION_DASH\n", "unused-arg:2"},
		"ARG with an effect":   {whole, "FROM scratch\nARG SOURCE_DATE_EPOCH\nARG TARGETARCH\n", ""},
		"empty ARG":            {whole, "FROM scratch\nARG WHATEVER\nENV A=$WHATEVER\n", "empty-arg:2"},
		"ARG with a default":   {whole, "FROM scratch\nARG WHATEVER=1\nENV A=$WHATEVER\n", ""},
		"global ARG":           {whole, "ARG WHATEVER=1\nFROM scratch\nARG WHATEVER\nENV A=$WHATEVER\n", ""},
		"no minor version":     {strings.Replace(whole, "1.2.3", "7", 1), "FROM scratch\nARG VERSION_MAJOR_MINOR\nENV A=$VERSION_MAJOR_MINOR\n", "empty-arg:2"},
		"later stage":          {whole, "FROM scratch\nCOPY --from=stagex/user-late . /\n", "stage-order:2"},
		"network":              {whole, "FROM stagex/core-base\nRUN true\nRUN --network=none true\nRUN --network=default true\n", "run-network:2 run-network:4"},
		"BuildKit's":           {whole, "FROM scratch as a\nFROM a\nENV A $VERSION\n", "FromAsCasing:1 LegacyKeyValueFormat:3 UndefinedVar:3"},
		"silenced":             {whole + "# sx lint: skip=unknown-key,missing-field\nlicence = \"MIT\"\n", "# sx lint: skip=run-network it must\nFROM stagex/core-base\nRUN true\n", ""},
		"silenced elsewhere":   {whole + "# sx lint: skip=run-network\n", "FROM stagex/core-base\nRUN true\n", "run-network:2"},
		"silenced BuildKit's":  {whole, "# check=skip=FromAsCasing\nFROM scratch as a\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := findings(t, c.manifest, c.containerfile, false); got != c.want {
				t.Errorf("%q, want %q\n%s", got, c.want, findings(t, c.manifest, c.containerfile, true))
			}
		})
	}
}

// BuildKit's rule names what is meant.
func TestSuggestion(t *testing.T) {
	got := findings(t, whole, "FROM scratch\nARG VERSION\nENV A=$VERSOIN B=$VERSION\n", true)
	if !strings.Contains(got, "VERSOIN") || !strings.Contains(got, "did you mean $VERSION") {
		t.Error(got)
	}
}

func TestFolders(t *testing.T) {
	tree := graphtest.Tree("-- packages/user/mesa/Containerfile --\nFROM scratch\n-- packages/user/empty/README --\nx\n")
	g, err := graph.Load(context.Background(), tree, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := lint.Run(context.Background(), lint.Subject{Tree: tree, Graph: g, Folders: true})
	if err != nil || len(all) != 1 || all[0].Rule != "no-package-toml" || all[0].File != "packages/user/mesa/Containerfile" {
		t.Errorf("%v, %v", all, err)
	}
}

// docs/lint.md has a section for each rule.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range lint.Rules() {
		if !strings.Contains(string(page), "\n### "+r.Name+" ("+r.Level.String()+")\n") {
			t.Errorf("docs/lint.md has no section %q", "### "+r.Name+" ("+r.Level.String()+")")
		}
	}
}

func TestBaseline(t *testing.T) {
	old := []lint.Finding{{Rule: "a", File: "f", Line: 1, Message: "m"}, {Rule: "a", File: "f", Line: 9, Message: "m"}, {Rule: "b", File: "f", Message: "two\nlines"}}
	b, err := lint.ParseBaseline(lint.FormatBaseline(old))
	if err != nil {
		t.Fatal(err)
	}
	moved := append([]lint.Finding{{Rule: "a", File: "f", Line: 20, Message: "m"}}, old...)
	fresh, known := b.Split(moved)
	if known != 3 || len(fresh) != 1 || fresh[0].Rule != "a" {
		t.Errorf("%d known, fresh %v", known, fresh)
	}
	if _, err := lint.ParseBaseline([]byte("one word\n")); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
}

// No text of a tree breaks out of a format.
func TestHostile(t *testing.T) {
	f := []lint.Finding{{Rule: "a", Level: lint.Error, File: "p,\n::error::x:1", Line: 1, Message: "m\n::error::\x1b[2J", Reason: "r"}}
	for _, format := range lint.Formats {
		var out bytes.Buffer
		if err := lint.Write(&out, format, "1", f); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(out.String(), "\n")
		if bytes.ContainsRune(out.Bytes(), 0x1b) || strings.Contains(out.String(), "\n::error::") || (format == "text" || format == "github") && lines != 1 {
			t.Errorf("%s: %q", format, out.String())
		}
		if format == "json" || format == "sarif" {
			if !json.Valid(out.Bytes()) {
				t.Errorf("%s is not JSON", format)
			}
		}
	}
}
