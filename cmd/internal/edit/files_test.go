package edit_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/edit"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// checkout is a copy of the packages of a tree, and an Internet that has every file.
type checkout struct {
	t    *testing.T
	dir  string
	view *tree.View
	edit edit.Tree
	opts fetch.Options
	net  internet
}

func copyTree(t *testing.T, from string) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: t.TempDir()}
	if err := os.CopyFS(filepath.Join(c.dir, "packages"), os.DirFS(filepath.Join(from, "packages"))); err != nil {
		t.Fatal(err)
	}
	var err error
	c.view, err = tree.Open(t.Context(), c.dir, tree.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.view.Close() })
	c.edit = edit.Tree{
		Read: func(path string) ([]byte, error) { return disk.ReadFile(filepath.Join(c.dir, path), 1<<20) },
		Load: c.view.LoadWith,
	}
	server := httptest.NewServer(http.HandlerFunc(invent))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.net = internet{address, map[string]string{}}
	c.opts = fetch.Options{Tree: c.dir, TempDir: c.view.Store.Dir("partial"), Transport: c.net}
	return c
}

// internet sends every request to one server, with the file that is meant.
type internet struct {
	server *url.URL
	files  map[string]string // by address: the path in fetch/
}

func (i internet) RoundTrip(req *http.Request) (*http.Response, error) {
	there := req.Clone(req.Context())
	there.Header.Set("File", i.files[req.URL.String()])
	there.URL.Scheme, there.URL.Host = i.server.Scheme, i.server.Host
	return http.DefaultTransport.RoundTrip(there)
}

// begins are how files with an ending begin.
var begins = map[string]string{
	".gz": "\x1f\x8b", ".tgz": "\x1f\x8b", ".xz": "\xfd7zXZ\x00", ".bz2": "BZh", ".zst": "\x28\xb5\x2f\xfd", ".lz": "LZIP",
	".zip": "PK\x03\x04", ".whl": "PK\x03\x04",
}

// invent answers with bytes that the name decides.
func invent(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get("File")
	w.Header().Set("Content-Type", "application/octet-stream")
	fmt.Fprint(w, begins[path.Ext(name)], "the file ", name)
}

func inventedHash(name string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(begins[path.Ext(name)]+"the file "+name)))
}

// update does what sx update does, and returns the files that it wrote.
func (c *checkout) update(dir, version string) ([]edit.File, error) {
	e, err := c.edit.Update(c.t.Context(), dir, version, "")
	if err != nil {
		return nil, err
	}
	var sources []fetch.Source
	for _, s := range e.Sources {
		sources = append(sources, fetch.Source{Name: s.Name(), Path: s.Path, Mirrors: s.Mirrors})
		for _, m := range s.Mirrors {
			c.net.files[m] = s.Path
		}
	}
	learnt, err := fetch.Learn(c.t.Context(), sources, true, c.opts)
	if err != nil {
		return nil, err
	}
	for i, l := range learnt {
		if err := e.SetHash(i, l.Hash); err != nil {
			return nil, err
		}
	}
	files, err := e.Finish(c.t.Context())
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := f.Write(c.dir, c.view.Store.Dir("tmp")); err != nil {
			return nil, err
		}
	}
	return files, nil
}

var (
	hexHash      = regexp.MustCompile(`[0-9a-f]{64}`)
	versionValue = regexp.MustCompile(`(version"?\s*=\s*["'])[^"']*`)
)

// rest returns a line without its hashes and the value of a version.
func rest(line string) string {
	return versionValue.ReplaceAllString(hexHash.ReplaceAllString(line, "HASH"), "${1}VERSION")
}

// wantOnlyLines wants that the version and hashes are all that changed, each as it
// should.
func (c *checkout) wantOnlyLines(files []edit.File, version string) (hashes int) {
	c.t.Helper()
	for _, f := range files {
		onDisk, err := os.ReadFile(filepath.Join(c.dir, f.Path))
		if err != nil || string(onDisk) != string(f.After) {
			c.t.Errorf("%s was not written: %v", f.Path, err)
		}
		before, after := strings.Split(string(f.Before), "\n"), strings.Split(string(f.After), "\n")
		if len(before) != len(after) {
			c.t.Errorf("%s: %d lines became %d", f.Path, len(before), len(after))
			continue
		}
		for i, was := range before {
			now := after[i]
			if was == now {
				continue
			}
			sums := hexHash.FindAllString(now, -1)
			if rest(was) != rest(now) || len(sums) == 0 && !strings.Contains(now, version) {
				c.t.Errorf("%s:%d: %q became %q", f.Path, i+1, was, now)
			}
			hashes += len(sums)
		}
	}
	return hashes
}

// wantHashes wants that every source of a definition that changed has the hash of its
// file.
func (c *checkout) wantHashes(files []edit.File) {
	c.t.Helper()
	g, err := graph.Load(c.t.Context(), os.DirFS(c.dir), graph.LoadOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, d := range g.Definitions() {
		for _, s := range d.Sources {
			for _, f := range files {
				for _, change := range f.Changes {
					if f.Path == d.Dir+"/package.toml" && change.Key == "sources."+s.Key+".hash" && s.Hash.String() != inventedHash(s.Path) {
						c.t.Errorf("%s: sources.%s has the hash %s", f.Path, s.Key, s.Hash)
					}
				}
			}
		}
	}
}

var lastNumber = regexp.MustCompile(`[0-9]+([^0-9]*)$`)

// next is another version: its last number has one more digit.
func next(version string) string { return lastNumber.ReplaceAllString(version, "9${0}") }

// TestUpdateFiles: of package.toml files in many styles, the version and the hashes
// change and nothing else.
func TestUpdateFiles(t *testing.T) {
	c := copyTree(t, "testdata/styles")
	for _, d := range c.view.Graph.Definitions() {
		files, err := c.update(d.Dir, next(d.Version))
		if err != nil {
			t.Errorf("%s: %v", d.Dir, err)
			continue
		}
		if n := c.wantOnlyLines(files, next(d.Version)); n == 0 {
			t.Errorf("%s: no hash changed", d.Dir)
		}
		c.wantHashes(files)
	}
	if broken := c.view.Graph.Broken(); len(broken) > 0 {
		t.Error(&graph.BrokenError{Broken: broken})
	}
}

// TestUpdateStageX updates 50 definitions of the checkout that SX_TEST_TREE names.
func TestUpdateStageX(t *testing.T) {
	from := os.Getenv("SX_TEST_TREE")
	if from == "" {
		t.Skip("SX_TEST_TREE names no StageX checkout")
	}
	c := copyTree(t, from)
	var able []*graph.Definition
	for _, d := range c.view.Graph.Definitions() {
		if d.VersionFrom == (graph.Ref{}) && lastNumber.MatchString(d.Version) && len(d.Sources) > 0 {
			able = append(able, d)
		}
	}
	const want = 50
	updated, refused, hashes, others := 0, 0, 0, 0
	for i := 0; i < len(able) && updated < want; i++ {
		d := able[i*7919%len(able)] // spread over the stages; the number is prime
		files, err := c.update(d.Dir, next(d.Version))
		if err != nil {
			refused++
			t.Logf("%s: %v", d.Dir, err)
			continue
		}
		updated++
		hashes += c.wantOnlyLines(files, next(d.Version))
		others += len(files) - 1
		c.wantHashes(files)
	}
	t.Logf("%d of %d definitions updated, %d refused; %d hashes, %d in definitions that take the version", updated, len(able), refused, hashes, others)
	if updated < want || refused > want/5 {
		t.Errorf("%d updated, %d refused", updated, refused)
	}
}
