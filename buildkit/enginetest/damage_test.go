package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layered is a tree whose engine has blobs of every kind: layers as they were made
// and as they are exported, of dependencies and of results, and documents that name
// them.
const layered = `
-- packages/core/a/package.toml --
[package]
name = "a"
version = "1"
-- packages/core/a/Containerfile --
FROM scratch
COPY one /one
COPY one /two
ENV A=a
-- packages/core/a/one --
one
-- packages/core/b/package.toml --
[package]
name = "b"
version = "1"
-- packages/core/b/Containerfile --
FROM stagex/core-a
COPY --from=stagex/core-a /two /three
-- packages/core/c/package.toml --
[package]
name = "c"
version = "1"
-- packages/core/c/Containerfile --
FROM stagex/core-b
COPY tool /
RUN --network=none ["/tool", "write", "/four", "4"]
COPY --from=stagex/core-a /one /five
`

// damages change a blob, by name. The last one makes another valid layer of it.
var damages = []struct {
	name string
	of   func(data []byte) []byte
}{
	{"a bit", func(data []byte) []byte { data[len(data)/2] ^= 4; return data }},
	{"another layer", func(data []byte) []byte { return anotherLayer() }},
	{"its end", func(data []byte) []byte { return data[:len(data)/2] }},
	{"all of it", func(data []byte) []byte { return nil }},
}

func anotherLayer() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 5})
		w.Write([]byte("wrong"))
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

// A blob in the engine's store with other bytes than its name says is made again, of
// whatever kind it is, and nothing is built from it. Most of these blobs are also in
// out/, by hard link.
func TestDamagedBlobs(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", layered)
	tree.Sx("build", "--all")
	outputs := []string{"core-a", "core-b", "core-c"}
	want := map[string]string{}
	for _, output := range outputs {
		want[output] = tree.Read("out/" + output + "/index.json")
	}
	damaged := 0
	for i, blob := range tree.engineBlobs() {
		data, err := os.ReadFile(blob)
		if os.IsNotExist(err) {
			continue // the engine was emptied since
		}
		tree.must(err)
		damage := damages[i%len(damages)]
		tree.overwrite(blob, damage.of(data))
		damaged++
		what := fmt.Sprintf("with %s of %s damaged", damage.name, filepath.Base(blob))
		r := tree.Start("build", "--all", "--rebuild")
		if r.Wait() != 0 || strings.Contains(r.Stderr.String(), "timestamps") {
			t.Fatalf("%s:\n%s%s", what, &r.Stdout, &r.Stderr)
		}
		for _, output := range outputs {
			if got := tree.Read("out/" + output + "/index.json"); got != want[output] {
				t.Fatalf("%s, %s is\n%swant:\n%s", what, output, got, want[output])
			}
		}
		tree.wantWhole()
	}
	t.Logf("%d blobs damaged", damaged)
}

// engineBlobs returns the paths of all blobs in the engine's store.
func (t *Tree) engineBlobs() []string {
	t.t.Helper()
	blobs, err := filepath.Glob(t.Path(".sx/engine/state/*/*/content/blobs/sha256/*"))
	if t.must(err); len(blobs) == 0 {
		t.t.Fatal("the engine's store holds no blob")
	}
	return blobs
}

// overwrite writes into a file; it does not replace it.
func (t *Tree) overwrite(path string, data []byte) {
	t.t.Helper()
	t.must(os.Chmod(path, 0o644))
	t.must(os.WriteFile(path, data, 0o644))
}
