package fetch

import "testing"

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"https://example.org/a@b":       "https://example.org/a@b",
		"https://u:p@example.org/a":     "https://xxxxx@example.org/a",
		"https://u:p@x@example.org/a":   "https://xxxxx@example.org/a",
		"https://u:p/q@example.org/a":   "example.org/a",
		"https://u:%zz@example.org/a":   "example.org/a",
		"https://example.org/\x1b[31ma": "https://example.org/\uFFFD[31ma",
		"//u:p@example.org/":            "//xxxxx@example.org/",
	} {
		if got := redact(raw); got != want {
			t.Errorf("redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestValidators(t *testing.T) {
	for _, c := range []struct{ etag, modified, want string }{
		{`"abc"`, "Sat, 01 Jan 2000 00:00:00 GMT", `"abc"`},
		{`W/"abc"`, "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"},
		{`W/"abc"`, "", ""},
		{"\"a\x01\"", "", ""},
	} {
		m := newMeta("http://h/a", c.etag, c.modified)
		if got := m.matches("http://h/a"); got != c.want {
			t.Errorf("validator of %q, %q is %q, want %q", c.etag, c.modified, got, c.want)
		}
		if got := m.matches("http://h/b"); got != "" {
			t.Errorf("validator for another URL: %q", got)
		}
	}
}

// A damaged meta file costs nothing but the If-Range.
func TestDamagedMeta(t *testing.T) {
	data := noise(1, 1000)
	for _, text := range []string{"", "{", `{"url_sha256":3}`, `[]`, string(make([]byte, 10_000))} {
		w := newWorld(t)
		s := source("a", data, serveFile(t, data).URL)
		w.part(s, data[:500])
		w.write(".sx/fetch/"+s.Hash.String()+".meta", []byte(text))
		if rep := w.must(s); rep.Bytes != 500 {
			t.Errorf("meta %q: %d bytes from the network, want 500", text, rep.Bytes)
		}
		w.wantFiles(".sx")
	}
}
