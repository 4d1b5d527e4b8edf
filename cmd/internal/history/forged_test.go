package history_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// forged is the hash of an object that names itself, under which a repository may hold one.
const forged = "1234567890123456789012345678901234567890"

// object stores an object of any content and returns its hash.
func (r repo) object(kind, text string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "object")
	r.must(os.WriteFile(path, []byte(text), 0o644))
	return r.git("hash-object", "-t", kind, "-w", "--literally", path)
}

// forge stores an object under the hash forged.
func (r repo) forge(kind, text string) {
	r.t.Helper()
	at := func(hash string) string { return r.path(".git/objects/" + hash[:2] + "/" + hash[2:]) }
	hash := r.object(kind, text)
	r.must(os.MkdirAll(filepath.Dir(at(forged)), 0o755))
	r.must(os.Link(at(hash), at(forged)))
}

// folder is one folder in the text of a tree object.
func (r repo) folder(name, hash string) string {
	r.t.Helper()
	raw, err := hex.DecodeString(hash)
	r.must(err)
	return "40000 " + name + "\x00" + string(raw)
}

// A history in circles can only be made of objects with other hashes than their own.
func TestForgedHash(t *testing.T) {
	r := published(t)
	tree := r.git("rev-parse", "HEAD^{tree}")
	r.forge("commit", "tree "+tree+"\nparent "+forged+"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n")
	r.write(".git/HEAD", forged+"\n")
	wantNone(t, r.dir, "its content has another hash: the object is damaged: run git fsck")
}

// TestFoldersThatMultiply: 30 small objects can describe more files than there are atoms in a tree.
func TestFoldersThatMultiply(t *testing.T) {
	r := published(t)
	folder := r.git("rev-parse", "HEAD:packages")
	for range 30 {
		folder = r.object("tree", r.folder("a", folder)+r.folder("b", folder))
	}
	root := r.object("tree", r.folder("digests", r.git("rev-parse", "HEAD:digests"))+r.folder("packages", folder))
	r.write(".git/HEAD", r.git("commit-tree", "-m", "x", root)+"\n")
	if _, err := r.open().Changed("packages/a", nil); err == nil || !strings.Contains(err.Error(), "too many files") {
		t.Errorf("error: %v", err)
	}
}
