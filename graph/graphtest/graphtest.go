// Package graphtest makes trees for tests: from text, or of any size. Nothing
// but tests should import it. Start at [Tree] for a few packages written by
// hand, at [Generate] for many.
package graphtest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// Tree reads a txtar archive. All its files are regular, with mode 0644.
func Tree(archive string) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	return tree
}

// Generate makes n definitions that look like upstream's: core-p00000 has no
// dependencies, each other has up to eight, two sources, and a Containerfile of
// some forty lines. Each is one output.
func Generate(n int) fstest.MapFS {
	tree := make(fstest.MapFS, 2*n)
	for i := range n {
		dir := "packages/core/" + name(i)
		tree[dir+"/package.toml"] = &fstest.MapFile{Data: manifest(i), Mode: 0o644}
		tree[dir+"/Containerfile"] = &fstest.MapFile{Data: containerfile(i), Mode: 0o644}
	}
	return tree
}

// Write puts what Generate makes under the folder dir. An fstest.MapFS looks at
// all its files to list one folder, which 50,000 definitions make too slow.
func Write(dir string, n int) error {
	for path, f := range Generate(n) {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, f.Mode); err != nil {
			return err
		}
	}
	return nil
}

func name(i int) string { return fmt.Sprintf("p%05d", i) }

func manifest(i int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "[package]\nname = %q\nversion = \"1.%d.3\"\n", name(i), i)
	fmt.Fprintf(&b, "description = \"Package %d\"\nlicense = \"MIT\"\nwebsite = \"https://example.org/%d\"\n", i, i)
	for _, key := range []string{"main", "patches"} {
		fmt.Fprintf(&b, "\n[sources.%s]\nhash = \"%x\"\nformat = \"tar.gz\"\n", key, sha256.Sum256(fmt.Append(nil, i, key)))
		fmt.Fprintf(&b, "file = \"%s-{version}.{format}\"\n", key)
		b.WriteString("mirrors = [\"https://example.org/{version_major}/{file}\", \"https://mirror.example.org/{file}\"]\n")
	}
	return []byte(b.String())
}

// distances are how far back dependencies lie: near ones make long chains, far
// ones wide closures.
var distances = []int{1, 2, 3, 5, 17, 101, 997, 9973}

func containerfile(i int) []byte {
	var b strings.Builder
	b.WriteString("FROM scratch AS base\nARG VERSION\n")
	for _, distance := range distances {
		if distance <= i {
			fmt.Fprintf(&b, "COPY --from=stagex/core-%s . /\n", name(i-distance))
		}
	}
	b.WriteString("ADD fetch/main-${VERSION}.tar.gz .\nWORKDIR /main-${VERSION}\n")
	b.WriteString("ENV CFLAGS=\"-O2 -pipe\"\nRUN --network=none <<-EOF\n\tset -eux\n\t./configure \\\n")
	for option := range 16 {
		fmt.Fprintf(&b, "\t\t--with-option-%d=/usr \\\n", option)
	}
	b.WriteString("\t\t--prefix=/usr\n\tmake -j\"$(nproc)\"\n\tmake DESTDIR=/rootfs install\nEOF\n\n")
	b.WriteString("FROM scratch AS package\nCOPY --from=base /rootfs/ /\n")
	return []byte(b.String())
}
