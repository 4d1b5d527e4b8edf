package cache

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDocumentsAreBounded: whatever index.json or a record holds, it is refused at once,
// with little memory, in a message that can be read.
func TestDocumentsAreBounded(t *testing.T) {
	s := newStore(t)
	buildImage("a").commit(t, s, "core-a")
	const size = 4_000_000
	big, digest := strings.Repeat("x", size), `"sha256:`+strings.Repeat("a", 64)+`"`
	part := strings.Repeat("x", 1<<20-100)
	for body, want := range map[string]string{
		`{"schemaVersion":2,` + "\n" + `"mediaType":"` + big + `"}`:                                       "line 2: a string has more than",
		`{"schemaVersion":2,"manifests":[{"digest":"` + part + `"}]}`:                                     "parsing digest",
		`{"schemaVersion":2,"mediaType":"` + part + `"}`:                                                  "media type",
		`{"schemaVersion":2,"manifests":[{"mediaType":"` + part + `","digest":` + digest + `,"size":1}]}`: "media type",
		`{"schemaVersion":2,"manifests":[{"mediaType":"m","size":` + strings.Repeat("9", size) + `}]}`:    "a number has more than",
		`{"x":` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2) + `}`:                         "nested more than 64",
		`{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", size/3) + `{}]}`:                       "more than 131072 values",
		`{"schemaVersion":2,"` + part + `":1,"` + part + `":2}`:                                           "twice",
		strings.Repeat(" ", 2*size): "more than 4194304 bytes",
	} {
		for _, path := range []string{"out/core-a/index.json", ".sx/records/core-a.json"} {
			write(t, filepath.Join(s.tree, path), []byte(body))
			began := time.Now()
			_, err := s.Whole("core-a")
			if strings.HasPrefix(path, ".sx") {
				_, err = s.Record("core-a")
				want = ""
			}
			if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 || time.Since(began) > 2*time.Second {
				t.Errorf("%.40q in %s: %v, %.300v; want %q", body, path, time.Since(began), err, want)
			}
		}
	}
}
