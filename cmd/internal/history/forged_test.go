package history_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// forged is an object that names itself: nobody can make one, but a repository may hold one under a hash not its own.
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

func TestHistoryInCircles(t *testing.T) {
	r := published(t)
	tree := r.git("rev-parse", "HEAD^{tree}")
	r.forge("commit", "tree "+tree+"\nparent "+forged+"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n")
	r.write(".git/HEAD", forged+"\n")
	wantNone(t, r.dir, "its own ancestor")
}

func TestFolderInItself(t *testing.T) {
	r := published(t)
	r.forge("tree", r.folder("a", forged)+r.folder("b", forged))
	packages := r.object("tree", r.folder("core", forged))
	root := r.object("tree", r.folder("digests", r.git("rev-parse", "HEAD:digests"))+r.folder("packages", packages))
	r.write(".git/HEAD", r.git("commit-tree", "-m", "x", root)+"\n")
	if _, err := r.open().Changed("packages/core", nil); err == nil || !strings.Contains(err.Error(), "or itself") {
		t.Errorf("error: %v", err)
	}
}
