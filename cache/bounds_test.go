package cache

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestDocumentsAreBounded: whatever index.json or a record holds, it is refused at once,
// with little memory, in a message that can be read. What time it takes is bounded by
// what is allocated: a document of at most 4 MB is read in a fixed number of passes, and
// 500,000 small objects take 20 to 50 ms of one core. A clock would tell of the load.
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
		`{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", size/3) + `{}]}`:                       "more than 32768 values",
		`{"schemaVersion":2,"` + part + `":1,"` + part + `":2}`:                                           "twice",
		strings.Repeat(" ", 2*size): "more than 4194304 bytes",
	} {
		for _, path := range []string{"out/core-a/index.json", ".sx/records/core-a.json"} {
			write(t, filepath.Join(s.tree, path), []byte(body))
			var err error
			refusal := func() { _, err = s.Check("core-a") }
			if strings.HasPrefix(path, ".sx") {
				want = ""
				refusal = func() { _, err = s.Record("core-a") }
			}
			used, objects := allocated(refusal)
			if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
				t.Errorf("%.40q in %s: %.300v; want %q", body, path, err, want)
			}
			if used > 100<<20 || objects > 500_000 {
				t.Errorf("%.40q in %s: %d bytes in %d objects were allocated", body, path, used, objects)
			}
		}
	}
}

// allocated is what the process allocates while do runs.
func allocated(do func()) (bytes, objects uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs
}
