package history

import (
	"bytes"
	"compress/zlib"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// TestBudget: a repository is read no further than all its questions may take, however little each of them does.
func TestBudget(t *testing.T) {
	dir, text := t.TempDir(), strings.Repeat("x", 1000)
	hash := plumbing.ComputeHash(plumbing.BlobObject, []byte(text)).String()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	w.Write([]byte("blob 1000\x00" + text))
	w.Close()
	path := filepath.Join(dir, "objects", hash[:2], hash[2:])
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := newObjects(root)
	o.left = 10 * (1000 + pieceCost)
	for i := range 12 {
		_, err := o.get(plumbing.NewHash(hash))
		if i < 10 && err != nil || i >= 10 && (err == nil || !strings.Contains(err.Error(), "run git gc")) {
			t.Errorf("read %d times: %v", i+1, err)
		}
	}
}
