package gogzip

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// goroot returns the folder of the Go release that compiled the test.
func goroot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// corpus returns streams of at most size bytes, by name.
func corpus(t testing.TB, size int) map[string][]byte {
	root := goroot(t)
	noise := &shaper{Rand: rand.New(rand.NewPCG(1, 1))}
	noise.noise(size)
	sparse := make([]byte, size)
	for at := 1000; at < size; at += size / 9 {
		copy(sparse[at:], noise.data[:5000])
	}
	return map[string][]byte{
		"noise":    noise.data,
		"sparse":   sparse,
		"source":   tarOf(t, filepath.Join(root, "src"), size),
		"programs": tarOf(t, filepath.Join(root, "pkg", "tool"), size),
	}
}

// tarOf returns the first bytes of an archive of the files in dir.
func tarOf(t testing.TB, dir string, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".zip") {
			return err
		}
		if b.Len() >= size {
			return fs.SkipAll
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: path[len(dir):], Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[:min(b.Len(), size)]
}

// proven lists the files of the standard library that define the bytes, as they were
// when the package was compared with them for hours.
var proven = map[string]string{
	"flate/deflate.go":            "4da50a0ab834a5e152ae337f9fea35f3527e29ea415e629dfe84749dfec07388",
	"flate/huffman_bit_writer.go": "ea6ea80d176d172a45b072190a66237a86c10969411514b07feff614fd05cdce",
	"flate/huffman_code.go":       "84b830cd8cc3da67f7572d7d8f244f6be0ea21ebd2f579753e91ab29870f5534",
	"flate/token.go":              "bc96536b4ca6e946a5094c3c60a085485cf6e25be1fc74914bdefcf4352f1516",
	"gzip/gzip.go":                "9f5cef3dff42000c6df57de93429c10121c20afdda99b0c883fa60f94617a497",
}

func TestStandardLibraryIsTheOneComparedWith(t *testing.T) {
	root := goroot(t)
	for name, want := range proven {
		f, err := os.Open(filepath.Join(root, "src", "compress", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s has another compress/%s (sha256 %s) than the release this package was compared with.\n"+
				"If it writes other bytes, so must this package, and every digest changes. Read what changed, run\n"+
				"SX_TEST_GOGZIP=2h go test -run ForLong -timeout 0 ./buildkit/gogzip, then enter the new sum.",
				runtime.Version(), name, got)
		}
	}
}
