package tomlscan_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"codeberg.org/stagex/sx/graph/graphtest"
	"codeberg.org/stagex/sx/graph/tomlscan"
)

const example = `# a comment [with] "quotes"
name = "x" # and another
empty = """
[not.a.table]
"""
raw = '''it's'''''
[package]
list = [
	"a", # b = 1
	'c', [1, {d.e = 2}],
]
dotted.key."qu\u006fted.name" = 2020-01-01 10:00:00
[sources.'a b']
inline = { hash = "\"}", mirrors = ["]"] }
[[tables]]
one = 1e3
[[tables]]
one = true
two = -inf
`

func TestLines(t *testing.T) {
	f, err := tomlscan.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, k := range f.Keys {
		got[k.Path().String()] = k.Line
		if f.Line(k.Path()...) != k.Line {
			t.Errorf("line of %q = %d, want %d", k.Path(), f.Line(k.Path()...), k.Line)
		}
	}
	want := map[string]int{
		"name": 2, "empty": 3, "raw": 6, "package": 7, "package.list": 8, "package.list.d": 10, "package.list.d.e": 10,
		"package.dotted": 12, "package.dotted.key": 12, `package.dotted.key."quoted.name"`: 12,
		"sources": 13, `sources."a b"`: 13, `sources."a b".inline`: 14, `sources."a b".inline.hash`: 14, `sources."a b".inline.mirrors`: 14,
		"tables": 15, "tables.one": 16, "tables.two": 19,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if len(f.Newer) > 0 || f.Line("package", "none") != 0 || f.Values["name"] != "x" {
		t.Errorf("%+v", f)
	}
}

// TestSpans: where the value of a key and the header of a table are in the text.
func TestSpans(t *testing.T) {
	f, err := tomlscan.Parse([]byte("\ufeff" + example))
	if err != nil {
		t.Fatal(err)
	}
	text := func(s tomlscan.Span) string { return ("\ufeff" + example)[s.Start:s.End] }
	values, headers := map[string]string{}, map[string]string{}
	for _, k := range f.Keys {
		if k.Value.End > 0 {
			values[k.Path().String()] = text(k.Value)
		}
		if k.Header.End > 0 {
			headers[k.Path().String()] = text(k.Header)
		}
	}
	want := map[string]string{
		"name": `"x"`, "empty": "\"\"\"\n[not.a.table]\n\"\"\"", "raw": "'''it's'''''",
		"package.list": "[\n\t\"a\", # b = 1\n\t'c', [1, {d.e = 2}],\n]", "package.list.d.e": "2",
		`package.dotted.key."quoted.name"`: "2020-01-01 10:00:00",
		`sources."a b".inline`:             `{ hash = "\"}", mirrors = ["]"] }`, `sources."a b".inline.hash`: `"\"}"`, `sources."a b".inline.mirrors`: `["]"]`,
		"tables.one": "true", "tables.two": "-inf",
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	want = map[string]string{"package": "[package]", `sources."a b"`: "[sources.'a b']", "tables": "[[tables]]"}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestNewer(t *testing.T) {
	for text, want := range map[string]tomlscan.Note{
		"\ufeffa = 1":               {1, "a byte order mark"},
		"\na = {b = 1,\nc = 2}":     {3, "an inline table of several lines"},
		"a = {b = 1,}":              {1, "a comma before the end of an inline table"},
		"a = \"\\e[0m\"":            {1, `the escape \e`},
		"\na = \"\"\"\n\\x41\"\"\"": {3, `the escape \x`},
		"a = [07:30]":               {1, "a time without seconds"},
		"a = 2020-01-01 07:30":      {1, "a time without seconds"},
	} {
		f, err := tomlscan.Parse([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if !slices.Equal(f.Newer, []tomlscan.Note{want}) {
			t.Errorf("%q: %v, want %v", text, f.Newer, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]tomlscan.Error{
		"a = 1\nb\n":       {Line: 2},
		"a = \n[b]\n":      {Line: 1, Key: "a"},
		"a = [1\nb = 2\n":  {Line: 2, Key: "a"},
		"\na = \"\n\"":     {Line: 2, Key: "a"},
		"a = 1\n\na = 2\n": {Line: 3, Key: "a"},
		"a = 1 b = 2\n":    {Line: 1},
		"\xff":             {Line: 1},
	} {
		_, err := tomlscan.Parse([]byte(text))
		var got *tomlscan.Error
		if !errors.As(err, &got) || got.Line != want.Line || got.Key != want.Key || got.Err.Error() == "" {
			t.Errorf("%q: %+v, want line %d after key %q", text, err, want.Line, want.Key)
		}
	}
}

// TestLimits: what costs more than it is worth is refused at once, with its line.
func TestLimits(t *testing.T) {
	deep := func(open, close string) string {
		return "\na=" + strings.Repeat(open, 8000) + "1" + strings.Repeat(close, 8000)
	}
	million := strings.Repeat("a", 1000_000)
	for name, text := range map[string]string{
		"inline tables":     deep("{a=", "}"),
		"lists":             deep("[", "]"),
		"dotted key":        "\n" + strings.Repeat("a.", 100_000) + "a=1",
		"header":            "\n[" + strings.Repeat("a.", 100_000) + "a]",
		"lists of tables":   deep("[{a=", "}]"),
		"bare key":          "\n" + million + " = 1",
		"quoted key":        "\n\"" + million + "\" = 1",
		"text":              "\na = \"" + million + "\"",
		"raw text":          "\na = '" + million + "'",
		"open text":         "\na = '" + million,
		"number":            "\na = " + strings.Repeat("1", 1000_000),
		"list":              "\na = [" + strings.Repeat("1,", 400_000) + "]",
		"list of tables":    "\na = [" + strings.Repeat("{},", 300_000) + "]",
		"size":              "\n#" + strings.Repeat("a", tomlscan.MaxSize),
		"long paths":        "\n[" + strings.Repeat(strings.Repeat("a", 5000)+".", 13) + "a]",
		"keys":              "",
		"lines of one text": "",
	} {
		line := 2
		switch name {
		case "keys":
			var b strings.Builder
			for i := range 60_000 {
				fmt.Fprintf(&b, "k%d = 1\n", i)
			}
			text, line = b.String(), 10_001
		case "lines of one text":
			text, line = "a = \"\"\"\n"+strings.Repeat("a\n", 400_000)+"\"\"\"", 400_002
		case "long paths":
			text, line = text+"\n"+strings.Repeat("b=1\nc=1\n", 5000), 66
		}
		t.Run(name, func(t *testing.T) {
			var err error
			cost := graphtest.CostOf(func() { _, err = tomlscan.Parse([]byte(text)) })
			var got *tomlscan.Error
			if !errors.As(err, &got) || got.Line != line {
				t.Errorf("%.200v, want an error at line %d", got, line)
			} else if len(got.Error()) > 200 {
				t.Errorf("a message of %d bytes", len(got.Error()))
			}
			if err := cost.Bounded(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWorst: what is just allowed costs no more either.
func TestWorst(t *testing.T) {
	var keys strings.Builder
	keys.WriteString("[" + strings.Repeat("table.", 13) + "a]\n")
	for i := range 9_900 {
		fmt.Fprintf(&keys, "k%d = 1\n", i)
	}
	for name, text := range map[string]string{
		"list":     "a = [" + strings.Repeat("1,", 9_990) + "]",
		"tables":   "a = [" + strings.Repeat("{},", 9_990) + "]",
		"keys":     keys.String(),
		"comments": strings.Repeat("#\n", 500_000),
	} {
		cost := graphtest.CostOf(func() { tomlscan.Parse([]byte(text)) })
		t.Logf("%s: %+v", name, cost)
		if err := cost.Bounded(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// plain are texts that the decoder need not read, and some that are nearly so.
var plain = []string{
	"", "\n# nothing\n", "a = \"\"", "[a]\nb = \"c # d\" # e\n[a.d]\n[a.e.f]\ng = [ ]\n",
	"a = [\n\t\"b\",\n\t\"c\",\n]\n", "a=[\"b\",\"c\"]", "a = [\"b\" \"c\"]", "a = [,]", "a = [\"b\",,]", "a = [\"b\", # c\n\"d\"]",
	"a = [\"b\", 1]", "a = [[\"b\"]]", "a = \"b\tc\"", "a = \"\\u0062\"", "a = \"\"\"b\"\"\"", "a = 'b'", "a = \"\u00fc\"", "a = \"b\" \"c\"",
	"a = \"b\"\na = \"c\"", "[a]\n[a]", "[a.b]\n[a]\n", "[a]\nb = \"c\"\n[a.b]\n", "[a.b]\n[a]\nb = \"c\"\n", "a = \"b\"\n[a.c]\n", "a = [\"b\"]\n[a.c]\nd = \"e\"\n",
	"a.b = \"c\"\n[a]\n", "a.b = \"c\"\n[a.d]\n", "[a]\nb.c = \"d\"\n[a.b]\ne = \"f\"\n", "\"a\" = \"b\"", "'a' = \"b\"", "\"\\q\" = \"b\"", "a! = \"b\"", "a\vb = \"c\"",
	"[[a]]\nb = \"c\"\n[[a]]\n", "[a]\n[[a.b]]\n", "a = {b = \"c\"}\n[a.d]\n", "[ a . b ]\nc = \"d\"", "[a] b = \"c\"", "a = \"b\" # \x01", "# \xff", "a = \"b\"\r\n", "a = \"b\"\r", "a = \"\x7f\"",
}

// TestPlain: what is read without the decoder is what the decoder reads.
func TestPlain(t *testing.T) {
	for _, text := range plain {
		var want map[string]any
		_, err := toml.Decode(text, &want)
		got, refused := tomlscan.Parse([]byte(text))
		if (err == nil) != (refused == nil) {
			t.Errorf("%q: %v, and the decoder: %v", text, refused, err)
		} else if err == nil && !reflect.DeepEqual(want, got.Values) {
			t.Errorf("%q: %#v, and the decoder: %#v", text, got.Values, want)
		}
	}
}

// FuzzParse: the scan and the decoder see the same keys and values.
func FuzzParse(f *testing.F) {
	f.Add(example)
	for _, text := range []string{"a.b.c=1\n[a.d]\n", "a={b={c=1}}", "a=[[1,2],[3]]", "a=\"\"\"\\\"\"\"\"", "\"\\U0001F600\"=1", "a='''\n''\\'''", "a = [ # c\n]", "a=1#", "\ra=1\r\n"} {
		f.Add(text)
	}
	if tree := os.Getenv("SX_TEST_TREE"); tree != "" {
		paths, _ := filepath.Glob(filepath.Join(tree, "packages", "*", "*", "package.toml"))
		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil {
				f.Add(string(data))
			}
		}
	}
	for _, text := range plain {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		var values map[string]any
		meta, err := toml.Decode(text, &values)
		file, got := tomlscan.Parse([]byte(text))
		if err == nil && got == nil {
			for _, key := range meta.Keys() {
				if file.Line(key...) == 0 {
					t.Errorf("%q: no line for %q", text, key)
				}
			}
			if diff := cmp.Diff(values, file.Values, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("%q: (-the decoder +got):\n%s", text, diff)
			}
			return
		}
		if (err == nil) != (got == nil) && !strings.Contains(got.Error(), "in one another") {
			t.Errorf("%q: %v, and the decoder: %v", text, got, err)
		}
	})
}
