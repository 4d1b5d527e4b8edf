package buildkit

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/fsutil/types"

	"codeberg.org/stagex/sx/graph"
)

func file(path, data string) graph.File {
	return graph.File{Path: path, Mode: 0o644, Data: []byte(data), ModTime: time.Unix(1_700_000_000, 5)}
}

func folder(path string) graph.File { return graph.File{Path: path, Mode: fs.ModeDir | 0o755} }

// source writes a fetched file.
func source(t testing.TB, name, data string) SourceFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return SourceFile{Name: name, Path: path, Hash: sha256.Sum256([]byte(data))}
}

func mustContext(t testing.TB, files []graph.File, sources []SourceFile, prefix string) *contextFS {
	t.Helper()
	c, err := newContext(files, sources, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// walk lists a context as BuildKit sees it.
func walk(t testing.TB, c *contextFS, target string, each func(p string) error) (seen []string) {
	t.Helper()
	err := c.Walk(t.Context(), target, func(p string, e fs.DirEntry, err error) error {
		info, ierr := e.Info()
		if err := errors.Join(err, ierr); err != nil {
			t.Fatal(err)
		}
		st, ok := info.Sys().(*types.Stat)
		if !ok || st.Path != p || st.Uid != 0 || st.Gid != 0 {
			t.Errorf("%s: stat %v", p, st)
		}
		seen = append(seen, info.Mode().String()+" "+p)
		return each(p)
	})
	if err != nil {
		t.Errorf("Walk: %v", err)
	}
	return seen
}

func nothing(string) error { return nil }

var sampleFiles = []graph.File{
	file("a.txt", "1"), folder("a"), file("a/b", "2"), folder("a/c"), file("a/c/d", "3"),
	{Path: "a/link", Mode: fs.ModeSymlink | 0o777, Link: "b"}, {Path: "run", Mode: 0o755},
}

// fsutil's sender needs the order of a walk: "a/b" before "a.txt".
func TestContextOrder(t *testing.T) {
	c := mustContext(t, sampleFiles, []SourceFile{source(t, "z.tar", "z"), source(t, "b.tar", "b")}, "fetch")
	want := []string{
		"drwxr-xr-x a", "-rw-r--r-- a/b", "drwxr-xr-x a/c", "-rw-r--r-- a/c/d", "Lrwxrwxrwx a/link",
		"-rw-r--r-- a.txt", "drwxr-xr-x fetch", "-rw-r--r-- fetch/b.tar", "-rw-r--r-- fetch/z.tar", "-rwxr-xr-x run",
	}
	if d := cmp.Diff(want, walk(t, c, "", nothing)); d != "" {
		t.Error(d)
	}
	for target, want := range map[string]int{"/": 10, "a": 5, "/a/c/": 2, "a.txt": 1, "../a": 5, "none": 0} {
		if got := walk(t, c, target, nothing); len(got) != want {
			t.Errorf("below %q: %v, want %d", target, got, want)
		}
	}
}

func TestContextFetch(t *testing.T) {
	c := mustContext(t, nil, []SourceFile{source(t, "b", "2"), source(t, "a", "1")}, "")
	if got := walk(t, c, "", nothing); !slices.Equal(got, []string{"-rw-r--r-- a", "-rw-r--r-- b"}) {
		t.Errorf("the named context fetch holds %v", got)
	}
	if got := walk(t, mustContext(t, nil, nil, ""), "", nothing); got != nil {
		t.Errorf("an empty one holds %v", got)
	}
	if got := walk(t, mustContext(t, nil, nil, "fetch"), "", nothing); len(got) != 1 {
		t.Errorf("a context without sources holds %v, want the folder fetch", got)
	}
}

func TestContextSkip(t *testing.T) {
	c := mustContext(t, sampleFiles, nil, "")
	for _, tt := range []struct {
		at   string
		err  error
		want []string
	}{
		{"a", fs.SkipDir, []string{"a", "a.txt", "run"}},
		{"a/b", fs.SkipDir, []string{"a", "a/b", "a.txt", "run"}},
		{"a/c", fs.SkipDir, []string{"a", "a/b", "a/c", "a/link", "a.txt", "run"}},
		{"a/c", fs.SkipAll, []string{"a", "a/b", "a/c"}},
		{"a.txt", fs.SkipDir, []string{"a", "a/b", "a/c", "a/c/d", "a/link", "a.txt"}},
	} {
		var got []string
		walk(t, c, "", func(p string) error {
			if got = append(got, p); p == tt.at {
				return tt.err
			}
			return nil
		})
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%v at %s: %s", tt.err, tt.at, d)
		}
	}
	stop := errors.New("stop")
	err := c.Walk(t.Context(), "", func(string, fs.DirEntry, error) error { return stop })
	if err != stop {
		t.Errorf("Walk: %v, want fn's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Walk(ctx, "", func(string, fs.DirEntry, error) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Walk: %v", err)
	}
}

// BuildKit leaves times before SOURCE_DATE_EPOCH as they are: a build must not see
// them, nor what wraps around to one.
func TestContextTimes(t *testing.T) {
	src := source(t, "s", "source")
	for _, at := range []time.Time{
		{}, time.Unix(-5, 0), time.Unix(0, 0), time.Unix(0, 999_999_999), time.Unix(1, 0), time.Unix(1_700_000_000, 5),
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if err := os.Chtimes(src.Path, at, at); err != nil && !at.IsZero() {
			t.Fatal(err)
		}
		f := file("f", "data")
		f.ModTime = at
		for _, e := range mustContext(t, []graph.File{f}, []SourceFile{src}, "fetch").entries {
			if e.stat.ModTime < epoch.UnixNano() {
				t.Errorf("%s of %v is dated %d, before SOURCE_DATE_EPOCH", e.stat.Path, at, e.stat.ModTime)
			}
		}
	}
	if got := timestamp(time.Unix(1_700_000_000, 5)); got != 1_700_000_000_000_000_005 {
		t.Errorf("a time of today becomes %d", got)
	}
}

// What a build can see changes the context's name, and mtimes do not: they are
// no part of a key either.
func TestContextID(t *testing.T) {
	src := source(t, "s", "source")
	id := func(files []graph.File, sources ...SourceFile) string {
		return mustContext(t, files, sources, "fetch").id
	}
	base := id(sampleFiles, src)
	touched := slices.Clone(sampleFiles)
	touched[0].ModTime = time.Unix(9, 9)
	moved := src
	moved.Path = source(t, "elsewhere", "source").Path
	if id(touched, src) != base || id(sampleFiles, moved) != base {
		t.Error("an mtime or a path outside changes the name")
	}
	edit := func(i int, change func(*graph.File)) []graph.File {
		files := slices.Clone(sampleFiles)
		change(&files[i])
		return files
	}
	for what, other := range map[string]string{
		"content":      id(edit(0, func(f *graph.File) { f.Data = []byte("x") }), src),
		"mode":         id(edit(0, func(f *graph.File) { f.Mode = 0o755 }), src),
		"link":         id(edit(5, func(f *graph.File) { f.Link = "c" }), src),
		"path":         id(edit(6, func(f *graph.File) { f.Path = "ran" }), src),
		"one less":     id(sampleFiles[1:], src),
		"source":       id(sampleFiles, source(t, "s", "other")),
		"source name":  id(sampleFiles, source(t, "s2", "source")),
		"no source":    id(sampleFiles),
		"its own file": id(append(slices.Clone(sampleFiles), file("fetch/s", "source2"))),
	} {
		if other == base {
			t.Errorf("%s: not in the name", what)
		}
	}
}

func TestContextOpen(t *testing.T) {
	src := source(t, "s", strings.Repeat("long ", 100_000))
	c := mustContext(t, sampleFiles, []SourceFile{src}, "fetch")
	read := func(p string) (string, error) {
		r, err := c.Open(p)
		if err != nil {
			return "", err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}
	if got, err := read("/a/c/d"); got != "3" || err != nil {
		t.Errorf("a/c/d: %q, %v", got, err)
	}
	if got, err := read("fetch/s"); len(got) != 500_000 || err != nil {
		t.Errorf("fetch/s: %d bytes, %v", len(got), err)
	}
	for _, p := range []string{"a", "a/link", "none", "fetch", "../etc/passwd"} {
		if _, err := read(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", p, err)
		}
	}
	if err := os.WriteFile(src.Path, []byte(strings.Repeat("lied ", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var mismatch *HashMismatchError
	if _, err := read("fetch/s"); !errors.As(err, &mismatch) || mismatch.Want != src.Hash {
		t.Errorf("a source that changed: %v, want a *HashMismatchError", err)
	}
	os.Remove(src.Path)
	if _, err := read("fetch/s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a source that is gone: %v", err)
	}
	if _, err := newContext(nil, []SourceFile{src}, ""); err == nil || !strings.Contains(err.Error(), `"s"`) {
		t.Errorf("a context of it: %v", err)
	}
}

func TestIgnored(t *testing.T) {
	own := file("Containerfile.dockerignore", "own\n")
	general := file(".dockerignore", "# comment\n\n*.md\n!README.md\n")
	for _, tt := range []struct {
		files []graph.File
		want  []string
	}{
		{[]graph.File{file("x", "")}, nil},
		{[]graph.File{general}, []string{"*.md", "!README.md"}},
		{[]graph.File{general, own}, []string{"own"}},
		{[]graph.File{{Path: ".dockerignore", Mode: fs.ModeSymlink | 0o777, Link: "x"}, folder("Containerfile.dockerignore")}, nil},
	} {
		if got, err := ignored(tt.files); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("ignored: %v, %v, want %v", got, err, tt.want)
		}
	}
}
