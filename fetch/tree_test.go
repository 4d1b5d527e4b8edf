package fetch

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNoLinkIsFollowed(t *testing.T) {
	data := noise(1, 100)
	outside := t.TempDir()
	for link, target := range map[string]string{
		"fetch":        outside,
		"fetch/core":   outside,
		"fetch/core/x": "../../packages", // inside, yet not fetch/
	} {
		t.Run(link, func(t *testing.T) {
			w := newWorld(t)
			site := serveFile(t, data)
			w.write("packages/keep", nil)
			abs := filepath.Join(w.dir, link)
			os.MkdirAll(filepath.Dir(abs), 0o755)
			os.Symlink(target, abs)
			_, err := w.run(source("a", data, site.URL))
			wantReasons(t, err, `opening "`+link+`": is a symbolic link`)
			site.wantRequests(t, 0)
			w.wantFiles("packages", "keep")
			if entries, _ := os.ReadDir(outside); len(entries) > 0 {
				t.Errorf("written outside of the tree: %v", entries)
			}
		})
	}
}

func TestDefaultTempFollowsNoLink(t *testing.T) {
	w := newWorld(t)
	w.opts.TempDir = ""
	outside := t.TempDir()
	os.Symlink(outside, filepath.Join(w.dir, ".sx"))
	_, err := w.run(source("a", nil))
	if err == nil || !strings.Contains(err.Error(), `opening ".sx": is a symbolic link`) {
		t.Errorf("Run: %v", err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("written outside of the tree: %v", entries)
	}
}

func TestDefaultTemp(t *testing.T) {
	w := newWorld(t)
	w.opts.TempDir = ""
	data := noise(1, 100)
	w.must(source("a", data, serveFile(t, data).URL))
	if info, err := os.Stat(filepath.Join(w.dir, ".sx")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf(".sx: %v, %v", info, err)
	}
}

// Not parallel: the umask is the process's.
func TestUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	w := newWorld(t)
	data := noise(1, 100)
	w.must(source("a", data, serveFile(t, data).URL)) // checks 0644
	for _, dir := range []string{"fetch", "fetch/core", "fetch/core/x"} {
		if info, err := os.Stat(filepath.Join(w.dir, dir)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: mode %v, want 0755", dir, info.Mode())
		}
	}
}

func TestHostilePaths(t *testing.T) {
	for _, path := range []string{"", "a", "fetch", "fetch/", "/etc/passwd", "packages/core/x/a", "fetch/../a", "fetch//a", "fetch/./a", "fetch/a/", "fetch/a\x00b", "../fetch/a"} {
		w := newWorld(t)
		_, err := w.run(Source{Name: "core-x: a", Path: path})
		if err == nil || !strings.Contains(err.Error(), `source "core-x: a": path`) {
			t.Errorf("path %q: %v", path, err)
		}
		w.wantFiles(".")
	}
}

func TestOnePathTwoHashes(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(source("a", []byte("1")), source("a", []byte("2")))
	if err == nil || !strings.Contains(err.Error(), `"fetch/core/x/a" is wanted as`) {
		t.Errorf("Run: %v", err)
	}
}

// What a hostile or damaged TempDir holds is neither followed nor believed.
func TestStrangePart(t *testing.T) {
	data := noise(1, 100)
	victim := filepath.Join(t.TempDir(), "victim")
	for name, make := range map[string]func(part string) error{
		"link":      func(p string) error { return os.Symlink(victim, p) },
		"inner":     func(p string) error { return os.Symlink("victim", p) },
		"hard link": func(p string) error { return os.Link(victim, p) },
		"folder":    func(p string) error { return os.MkdirAll(p+"/x", 0o755) },
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			os.WriteFile(victim, []byte("precious"), 0o644)
			w := newWorld(t)
			w.write(".sx/fetch/victim", []byte("precious"))
			s := source("a", data, serveFile(t, data).URL)
			if err := make(filepath.Join(w.dir, ".sx/fetch", s.Hash.String()+".part")); err != nil {
				t.Fatal(err)
			}
			w.must(s)
			if got, _ := os.ReadFile(victim); string(got) != "precious" {
				t.Errorf("the victim reads %q", got)
			}
			w.wantFiles(".sx/fetch", "victim")
		})
	}
}
