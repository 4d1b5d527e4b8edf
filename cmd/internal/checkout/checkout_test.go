package checkout

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/stagex/sx/fetch/gitpack"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// repository is a git repository that git's own http-backend serves.
type repository struct {
	t      *testing.T
	dir    string // with a checkout
	url    string
	spoil  func(http.Handler) http.Handler
	mu     sync.Mutex
	served []string // "GET /path", of each request
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	path := strings.TrimSpace(r.git("--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(path, "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + r.dir},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.served = append(r.served, req.Method+" "+req.URL.Path)
		spoil := r.spoil
		r.mu.Unlock()
		if spoil != nil {
			spoil(backend).ServeHTTP(w, req)
			return
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL + "/.git"
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	return r.gitFrom("", args...)
}

func (r *repository) gitFrom(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org",
		"GIT_COMMITTER_DATE=2026-03-01T12:00:00Z")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		r.t.Fatalf("git %q: %v: %s", args, err, exit.Stderr)
	} else if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// write writes files, "name" to content; "!name" is executable, "@name" a link.
func (r *repository) write(files map[string]string) {
	r.t.Helper()
	for name, content := range files {
		path := filepath.Join(r.dir, strings.TrimLeft(name, "!@"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		var err error
		switch name[0] {
		case '@':
			err = os.Symlink(content, path)
		case '!':
			err = errors.Join(os.WriteFile(path, []byte(content), 0o755), os.Chmod(path, 0o755))
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// commit commits everything and returns the commit.
func (r *repository) commit() string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "a commit")
	return strings.TrimSpace(r.git("rev-parse", "HEAD"))
}

// requests returns what was asked for since the last time.
func (r *repository) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.served = nil }()
	return r.served
}

// impatient are limits that a test can wait for.
var impatient = gitpack.Options{UserAgent: "sx/test", Limits: transfer.Limits{Stall: 500 * time.Millisecond, Header: 2 * time.Second}}

func (r *repository) open(dir, revision string) (Checkout, error) {
	r.t.Helper()
	s, err := Parse(r.url + "@" + revision)
	if err != nil {
		r.t.Fatal(err)
	}
	return Open(r.t.Context(), dir, s, impatient)
}

// listing lists a tree as git does: mode, path, content.
func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == ".git":
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			all = append(all, "link "+name+" "+target)
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%t %s %x", info.Mode()&0o100 != 0, name, data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// similar is text that git packs as a delta of text with another n.
func similar(n int) string {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "line %d of a long file\n", i*i*7)
		if i == 1500 {
			fmt.Fprintf(&b, "but %d is another one\n", n)
		}
	}
	return b.String()
}

// The tree of a tag or commit is exactly what git would check out, is fetched once, and
// what a tag is is asked each time.
func TestOpen(t *testing.T) {
	r := newRepository(t)
	files := map[string]string{
		"packages/core/a/Containerfile": "FROM scratch\n", "!packages/core/a/run": "#!/bin/sh\n", "packages/core/a/empty": "",
		"@packages/core/a/link": "run", "@packages/core/b/up": "../a/run", "digests/core.txt": "", "fetch/core/a/source": "source",
	}
	for n := range 5 {
		files[fmt.Sprintf("packages/core/c/%d", n)] = similar(n)
	}
	r.write(files)
	r.commit()
	r.write(map[string]string{"digests/core.txt": "x core-a\n"})
	first := r.commit()
	r.git("tag", "light")
	r.git("tag", "-m", "a release", "2026.03.0")
	r.git("tag", "-m", "of a tag", "nested", "2026.03.0")
	r.git("repack", "-a", "-d", "-q", "--depth=50")
	want := listing(t, r.dir)

	trees := filepath.Join(t.TempDir(), "cache", "trees")
	for _, revision := range []string{"2026.03.0", "light", "nested", first} {
		c, err := r.open(trees, revision)
		if err != nil {
			t.Fatal(err)
		}
		if got := listing(t, c.Dir); !slices.Equal(got, want) || c.Commit != first {
			t.Errorf("%s is %s:\n%s\nwant %s:\n%s", revision, c.Commit, strings.Join(got, "\n"), first, strings.Join(want, "\n"))
		}
		if object := strings.TrimSpace(r.git("rev-parse", revision)); c.Tag != "" && c.Tag != object || revision == "2026.03.0" && (c.Tag != object || c.Tagger != "Ann, 2026-03-01") {
			t.Errorf("%s is the tag %q (%s), want %s", revision, c.Tag, c.Tagger, object)
		}
	}
	r.requests()
	if _, err := r.open(trees, first); err != nil || len(r.requests()) > 0 {
		t.Errorf("a commit that is there: %v", err)
	}
	c, err := r.open(trees, "2026.03.0")
	if asked := r.requests(); err != nil || len(asked) != 2 {
		t.Errorf("a tag that is there: %v, %q", err, asked)
	}

	for _, name := range []string{".sx/records/a", "out/core-a/index.json", "fetch/core/b/source"} {
		put(t, c.Dir, name, "anything")
	}
	if _, err := r.open(trees, "2026.03.0"); err != nil {
		t.Errorf("with what sx leaves: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(c.Dir)); err != nil || len(entries) != 4 {
		t.Errorf("beside the tree are %v", entries) // three packs: of two tags, of the commit
	}

	r.write(map[string]string{"packages/core/a/Containerfile": "FROM scratch AS moved\n"})
	moved := r.commit()
	r.git("tag", "-f", "-m", "moved", "2026.03.0")
	if again, err := r.open(trees, "2026.03.0"); err != nil || again.Commit != moved || again.Dir == c.Dir {
		t.Errorf("a tag that was moved to %s: %v, %v", moved, again, err)
	}
	if err := errors.Join(Remove(trees, first), Remove(trees, moved)); err != nil {
		t.Error(err)
	}
	if err := Remove(filepath.Join(trees, "none"), first); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if entries, err := os.ReadDir(trees); err != nil || len(entries) > 0 {
		t.Errorf("left after both were removed: %v", entries)
	}
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// A kept tree that is not the commit's any more is not used, and the file is named.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"packages/core/a/Containerfile": func(dir string) error {
			return os.WriteFile(dir+"/packages/core/a/Containerfile", []byte("FROM scratcH\n"), 0o644)
		},
		"packages/core/a/run":  func(dir string) error { return os.Chmod(dir+"/packages/core/a/run", 0o644) },
		"packages/core/a/gone": func(dir string) error { return os.Remove(dir + "/packages/core/a/gone") },
		"packages/core/a/more": func(dir string) error { return os.WriteFile(dir+"/packages/core/a/more", nil, 0o644) },
		"packages/core/a/link": func(dir string) error {
			return errors.Join(os.Remove(dir+"/packages/core/a/link"), os.Symlink("gone", dir+"/packages/core/a/link"))
		},
		"digests": func(dir string) error { return os.Mkdir(dir+"/digests", 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.write(map[string]string{"packages/core/a/Containerfile": "FROM scratch\n", "!packages/core/a/run": "", "packages/core/a/gone": "", "@packages/core/a/link": "run"})
			commit, trees := r.commit(), t.TempDir()
			c, err := r.open(trees, commit)
			if err == nil {
				err = change(c.Dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.open(trees, commit)
			if err == nil || !strings.Contains(err.Error(), `"`+name+`"`) || !strings.Contains(err.Error(), "--clean") {
				t.Errorf("%v", err)
			}
		})
	}
}

// What is no tree to be checked out is refused, with nothing left of it.
func TestRefusedTrees(t *testing.T) {
	for what, test := range map[string]struct{ entry, content, want string }{
		"absolute link":    {"120000 link", "/etc/passwd", "leads out of the tree"},
		"link out":         {"120000 link", "../x", "out of the tree"},
		"link down and up": {"120000 link", "a/../../x", "down and up again"},
		"empty link":       {"120000 link", "", "leads out of the tree"},
		".git":             {"100644 .git", "gitdir: /tmp", "not the tree's to have"},
		".GIT":             {"100644 .GIT", "gitdir: /tmp", "not the tree's to have"},
		".sx":              {"100644 .sx", "x", "not the tree's to have"},
		"..":               {"100644 ..", "x", "which is no name"},
		"slash":            {"100644 a/b", "x", "which is no name"},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRepository(t)
			blob := strings.TrimSpace(r.gitFrom(test.content, "hash-object", "-w", "--stdin"))
			raw := test.entry + "\x00" + string(fromHex(t, blob))
			tree := strings.TrimSpace(r.gitFrom(raw, "hash-object", "-w", "-t", "tree", "--literally", "--stdin"))
			commit := strings.TrimSpace(r.git("commit-tree", "-m", "hostile", tree))
			r.git("update-ref", "refs/tags/hostile", commit)
			trees := t.TempDir()
			c, err := r.open(trees, "hostile")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v", c, err)
			}
			if _, err := os.Lstat(filepath.Join(trees, commit, treeName)); err == nil {
				t.Error("a tree is left")
			}
			if found, _ := filepath.Glob(filepath.Join(trees, commit, "*.new")); len(found) > 0 {
				t.Errorf("left: %q", found)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Source{
		"https://codeberg.org/stagex/stagex.git@2026.03.0":               {URL: "https://codeberg.org/stagex/stagex.git", Tag: "2026.03.0"},
		"https://codeberg.org/stagex/stagex@v1/rc.1":                     {URL: "https://codeberg.org/stagex/stagex", Tag: "v1/rc.1"},
		"https://example.org/x@0123456789012345678901234567890123456789": {URL: "https://example.org/x", Commit: "0123456789012345678901234567890123456789"},
		"http://127.0.0.1:80/x@1":                                        {URL: "http://127.0.0.1:80/x", Tag: "1"},
		"http://localhost/x@1":                                           {URL: "http://localhost/x", Tag: "1"},
	} {
		if s, err := Parse(text); err != nil || s != want || s.String() != text {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
	}
	for text, want := range map[string]string{
		"https://codeberg.org/stagex/stagex.git": "names no release",
		"https://ann@example.org/x":              "names no repository",
		"https://ann:secret@example.org/x@1":     "credentials",
		"http://example.org/x@1":                 "only https",
		"ssh://git@example.org/x@1":              "credentials",
		"git@example.org:x.git@1":                "not a URL",
		"/srv/stagex@1":                          "not a URL",
		"https://example.org/x?y@1":              "? or #",
		"https://example.org/x@refs/tags/1":      "leave out refs/tags/",
		"https://example.org/x@a..b":             "neither a tag's name",
		"https://example.org/x@":                 "neither a tag's name",
		"https://example.org/x@-x":               "neither a tag's name",
		"https://example.org/x@a b":              "neither a tag's name",
	} {
		if s, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
	}
}
