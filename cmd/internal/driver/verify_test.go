package driver

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// BenchmarkVerify verifies four outputs of 300 MB each, with each sx that a variable names
// (SX, and BEFORE for an older one), and hashes their files with openssl, as many at once
// as there are processors.
func BenchmarkVerify(b *testing.B) {
	dir, state := b.TempDir(), b.TempDir()
	for i := range 4 {
		folder := filepath.Join(dir, "packages", "core", fmt.Sprintf("p%d", i))
		edit(b, filepath.Join(folder, "package.toml"), fmt.Sprintf("[package]\nname = \"p%d\"\n", i))
		edit(b, filepath.Join(folder, "Containerfile"), "FROM scratch\nCOPY . /\n")
	}
	view, err := tree.Open(b.Context(), dir, tree.Options{KeyFile: filepath.Join(state, "sx", "record.key")})
	if err != nil {
		b.Fatal(err)
	}
	fakeBuildOf(b, view.Tree, "benchmark", func(o *graph.Output) []byte {
		noise, layer := rand.NewChaCha8([32]byte{o.Ref.Name[1]}), make([]byte, 300e6)
		noise.Read(layer)
		return layer
	})
	if err := view.Close(); err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "HOME="+state, "XDG_STATE_HOME="+state, "XDG_CONFIG_HOME="+state)
	for _, variable := range []string{"SX", "BEFORE"} {
		if sx := os.Getenv(variable); sx != "" {
			b.Run(variable, func(b *testing.B) { measure(b, nil, dir, env, sx, "verify") })
		}
	}
	b.Run("openssl", func(b *testing.B) {
		measure(b, nil, dir, env, "sh", "-c", "ls -d out/*/blobs/sha256/* | xargs -P $(nproc) -n 1 openssl dgst -sha256")
	})
}
