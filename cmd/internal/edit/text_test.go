package edit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSet: quotes, comments, spaces, line ends and a byte order mark stay.
func TestSet(t *testing.T) {
	for name, c := range map[string]struct{ before, key, value, after string }{
		"double quotes":  {"# c\n[a]  # d\n  b   =  \"1\"   # e\nc = 2", "a.b", "22", "# c\n[a]  # d\n  b   =  \"22\"   # e\nc = 2"},
		"single quotes":  {"[a]\nb = '1'\n", "a.b", "2", "[a]\nb = '2'\n"},
		"three quotes":   {"[a]\nb = \"\"\"1\"\"\"\n", "a.b", "2", "[a]\nb = \"\"\"2\"\"\"\n"},
		"empty":          {"[a]\nb = \"\"\n", "a.b", "2", "[a]\nb = \"2\"\n"},
		"inline table":   {"[a]\nx = { b = \"1\", c = \"3\" }\n", "a.x.b", "2", "[a]\nx = { b = \"2\", c = \"3\" }\n"},
		"dotted key":     {"a.b = \"1\"\n", "a.b", "2", "a.b = \"2\"\n"},
		"quoted key":     {"[a]\n\"b\" = \"1\"\n", "a.b", "2", "[a]\n\"b\" = \"2\"\n"},
		"no newline":     {"[a]\nb = \"1\"", "a.b", "2", "[a]\nb = \"2\""},
		"CRLF":           {"[a]\r\nb = \"1\"\r\nc = 1\r\n", "a.b", "2", "[a]\r\nb = \"2\"\r\nc = 1\r\n"},
		"BOM":            {"\ufeff[a]\nb = \"1\"\n", "a.b", "2", "\ufeff[a]\nb = \"2\"\n"},
		"escapes":        {"[a]\nb = \"\\u0031\"\n", "a.b", "2", "[a]\nb = \"2\"\n"},
		"like a comment": {"[a]\nz = \"b = 1 # \"\nb = \"#\"\n", "a.b", "2", "[a]\nz = \"b = 1 # \"\nb = \"2\"\n"},
		"missing":        {"[a] # d\nc = 1\n[d]\n", "a.b", "2", "[a] # d\nb = \"2\"\nc = 1\n[d]\n"},
		"missing, CRLF":  {"[a]\r\nc = 1\r\n", "a.b", "2", "[a]\r\nb = \"2\"\r\nc = 1\r\n"},
		"missing at end": {"x = 1\n[a]", "a.b", "2", "x = 1\n[a]\nb = \"2\""},
		"the same":       {"[a]\nb = '1'\n", "a.b", "1", "[a]\nb = '1'\n"},
	} {
		text, err := ParseText([]byte(c.before))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := text.Set(c.value, strings.Split(c.key, ".")...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := text.Bytes(); err != nil || string(got) != c.after {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.after)
		}
	}
}

// TestSetRefuses: what cannot be set without changing more.
func TestSetRefuses(t *testing.T) {
	for _, c := range []struct{ before, key, value string }{
		{"[a]\nb = 1\n", "a.b", "2"},
		{"[a]\nb = [\"1\"]\n", "a.b", "2"},
		{"[a.b]\nc = 1\n", "a.b", "2"},
		{"a.c = 1\n", "a.b", "2"},
		{"[a]\nx = { c = 1 }\n", "a.x.b", "2"},
		{"[a]\n", "z.b", "2"},
		{"[a]\nb = \"1\"\n", "a.b", "\""},
		{"[a]\nb = \"1\"\n", "a.b", "\n"},
		{"[a]\nb = \"1\"\n", "a.b", `\`},
	} {
		text, err := ParseText([]byte(c.before))
		if err != nil {
			t.Fatal(err)
		}
		if err := text.Set(c.value, strings.Split(c.key, ".")...); err == nil {
			got, _ := text.Bytes()
			t.Errorf("%q: %s became %q", c.before, c.key, got)
		}
	}
}

func TestRemove(t *testing.T) {
	text, err := ParseText([]byte("[a]\nb = [\n  \"1\",\n] # c\nd = 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	text.remove("a", "b")
	text.remove("a", "none")
	if got, err := text.Bytes(); err != nil || string(got) != "[a]\nd = 2\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzSet: a value is set and nothing else, or nothing is changed. Bytes compares.
func FuzzSet(f *testing.F) {
	files, _ := filepath.Glob("testdata/styles/packages/*/*/package.toml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "1.2.3")
	}
	f.Add("a = { b = \"\"\"\n1\"\"\"}\n[[c]]\nd = '1'\nd.e = 1", "2")
	f.Fuzz(func(t *testing.T, before, value string) {
		text, err := ParseText([]byte(before))
		if err != nil || len(before) > 1<<12 {
			return
		}
		for _, k := range text.file.Keys {
			text, _ := ParseText([]byte(before))
			if text.Set(value, k.Path()...) != nil {
				continue
			}
			after, err := text.Bytes()
			if err != nil {
				t.Fatalf("%q: setting %s to %q gives %q: %v", before, k.Path(), value, after, err)
			}
		}
	})
}
