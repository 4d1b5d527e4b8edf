// Package examples_test holds the example tree to its word: the programs are what their commented hexadecimal
// digits say, and fetch/ holds exactly the sources that the definitions name. It builds nothing.
package examples_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

type definition struct {
	Package struct {
		Name, Version, Description, License, Website string

		VersionFrom string `toml:"version_from"`
		Subpackages []string
		Platforms   []string
	}
	Sources map[string]source
}

type source struct {
	Hash, Version, File, Format string
	GitSHA                      string `toml:"git_sha"`
	Mirrors                     []string
}

func load(t *testing.T) map[string]definition {
	t.Helper()
	files, err := filepath.Glob("packages/*/*/package.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding definitions: %d found, %v", len(files), err)
	}
	definitions := map[string]definition{}
	for _, file := range files {
		var d definition
		meta, err := toml.DecodeFile(file, &d)
		if err != nil {
			t.Fatal(err)
		}
		if extra := meta.Undecoded(); len(extra) > 0 {
			t.Errorf("%s: unknown keys %v", file, extra)
		}
		definitions[path.Dir(filepath.ToSlash(file))] = d
	}
	return definitions
}

// expand replaces the placeholders of package.toml. Source: upstream's src/fetch.py.
func expand(text, version, format, file string) string {
	dots := strings.Split(version, ".")
	prefix, _, _ := strings.Cut(version, "-")
	return strings.NewReplacer(
		"{version}", version,
		"{version_under}", strings.ReplaceAll(version, ".", "_"),
		"{version_dash}", strings.ReplaceAll(version, ".", "-"),
		"{version_major}", dots[0],
		"{version_major_minor}", strings.Join(dots[:min(2, len(dots))], "."),
		"{version_strip_suffix}", prefix,
		"{format}", format,
		"{file}", file,
	).Replace(text)
}

func TestSources(t *testing.T) {
	var want []string
	for dir, d := range load(t) {
		for key, s := range d.Sources {
			version := s.Version
			if version == "" {
				version = d.Package.Version
			}
			name := s.File
			if name == "" {
				name = path.Base(s.Mirrors[0])
			}
			name = expand(name, version, s.Format, "")
			file := path.Join("fetch", strings.TrimPrefix(dir, "packages/"), name)
			want = append(want, file)
			checkHash(t, file, s.Hash)
			for _, mirror := range s.Mirrors {
				checkMirror(t, dir+": "+key, expand(mirror, version, s.Format, name), name)
			}
		}
	}
	slices.Sort(want)
	if got := fetched(t); !slices.Equal(got, want) {
		t.Errorf("fetch/ holds\n%s\nthe definitions name\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func checkHash(t *testing.T, file, want string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
		t.Errorf("%s: got %x, want %s", file, sum, want)
	}
}

// checkMirror: an address under a reserved domain (RFC 2606), so that nothing can ever be fetched.
func checkMirror(t *testing.T, where, mirror, file string) {
	t.Helper()
	u, err := url.Parse(mirror)
	switch {
	case err != nil:
		t.Errorf("%s: %v", where, err)
	case u.Scheme != "https" || u.Host != "example.org" && u.Host != "example.net":
		t.Errorf("%s: %q could be reached", where, mirror)
	case strings.ContainsAny(mirror, "{}") || path.Base(u.Path) != file:
		t.Errorf("%s: %q is no address of %q", where, mirror, file)
	}
}

func fetched(t *testing.T) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), "fetch", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDefinitions(t *testing.T) {
	for dir, d := range load(t) {
		p := d.Package
		if p.Name != path.Base(dir) {
			t.Errorf("%s: named %q", dir, p.Name)
		}
		if p.Description == "" || p.License == "" || p.Website == "" {
			t.Errorf("%s: no description, license or website", dir)
		}
		if p.Version != "" && p.VersionFrom != "" {
			t.Errorf("%s: both version and version_from", dir)
		}
	}
}
