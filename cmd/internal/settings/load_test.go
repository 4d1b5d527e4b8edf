package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func writeUser(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func treeOf(text string) fs.FS {
	return fstest.MapFS{FileName: {Data: []byte(text)}}
}

func getenv(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestLoadNothing(t *testing.T) {
	for name, o := range map[string]Options{
		"zero options":    {},
		"missing files":   {UserFile: filepath.Join(t.TempDir(), "none"), Tree: fstest.MapFS{}},
		"empty files":     {UserFile: writeUser(t, ""), Tree: treeOf("")},
		"empty sections":  {UserFile: writeUser(t, "[build]\n[engine]\n"), Tree: treeOf("[engine]\n[paths]\n")},
		"empty variables": {Getenv: getenv("SX_BUILD_JOBS", "")},
	} {
		got, err := Load(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(Default(), got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// Each source wins over the ones before it, key by key.
func TestPrecedence(t *testing.T) {
	o := Options{
		Tree:     treeOf("[fetch]\njobs = 11\nper_host = 11\nretries = 11\nstall = \"11s\"\n"),
		UserFile: writeUser(t, "[fetch]\nper_host = 12\nretries = 12\nstall = \"12s\"\n"),
		Getenv:   getenv("SX_FETCH_RETRIES", "13", "SX_FETCH_STALL", "13s"),
		Flags:    map[string]string{"fetch.stall": "14s"},
	}
	got, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Fetch.Jobs, want.Fetch.PerHost, want.Fetch.Retries, want.Fetch.Stall = 11, 12, 13, 14*time.Second
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A tree lowers the caps of the user, but neither raises them nor overrules a variable.
func TestTreeLowersCaps(t *testing.T) {
	tests := []struct {
		name, tree, user, env string
		want                  int64
	}{
		{"lower than the default", `"1GiB"`, "", "", 1 << 30},
		{"higher than the default", `"100GiB"`, "", "", 8 << 30},
		{"lower than the user's", `"1GiB"`, `"16GiB"`, "", 1 << 30},
		{"higher than the user's", `"4GiB"`, `"2GiB"`, "", 2 << 30},
		{"beside a variable", `"1GiB"`, `"2GiB"`, "20GiB", 20 << 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Tree: treeOf("fetch.max_file = " + tt.tree), Getenv: getenv("SX_FETCH_MAX_FILE", tt.env)}
			if tt.user != "" {
				o.UserFile = writeUser(t, "fetch.max_file = "+tt.user)
			}
			got, err := Load(o)
			if err != nil {
				t.Fatal(err)
			}
			if got.Fetch.MaxFile != tt.want {
				t.Errorf("max_file = %d, want %d", got.Fetch.MaxFile, tt.want)
			}
		})
	}
}

// What only the user may say is an error in a tree, with its line and where it belongs, whatever its value.
func TestTreeMaySayLittle(t *testing.T) {
	for _, k := range keys {
		section, name, _ := strings.Cut(k.name, ".")
		_, err := Load(Options{UserFile: "/home/u/stagex.toml", Tree: treeOf("# a\n[" + section + "]\n\n" + name + " = \"X!\"\n")})
		if err == nil {
			t.Fatalf("%s: no error", k.name)
		}
		belongs := "stagex.toml:4: setting \"" + k.name + "\": it belongs in the user's settings (/home/u/stagex.toml), not in a tree: "
		if got := strings.HasPrefix(err.Error(), belongs); got != (k.userOnly != "") {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

func TestLoadReportsAllAtOnce(t *testing.T) {
	o := Options{
		Tree:     treeOf("[fetch]\njobs = 0\n[engine]\nrunc = \"/tmp/evil\"\n"),
		UserFile: writeUser(t, "[build]\nprogress = \"loud\"\n"),
		Getenv:   getenv("SX_FETCH_STALL", "30"),
		Flags:    map[string]string{"build.jobs": "many"},
	}
	got, err := Load(o)
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(Settings{}, got); diff != "" {
		t.Errorf("settings beside an error:\n%s", diff)
	}
	want := `stagex.toml:2: setting "fetch.jobs": want a number from 1 to 256, not "0"
stagex.toml:4: setting "engine.runc": it belongs in the user's settings (USER), not in a tree: ` + ofTheAudit + `
USER:2: setting "build.progress": want one of auto, plain, tty, rawjson, quiet, not "loud"
SX_FETCH_STALL: want a time from 1s to 1h0m0s, such as "30s", not "30"
flag: setting "build.jobs": want a number from 0 to 1024, not "many"`
	if diff := cmp.Diff(want, strings.ReplaceAll(err.Error(), o.UserFile, "USER")); diff != "" {
		t.Error(diff)
	}
	var e *Error
	if !errors.As(err, &e) || e.Where != "stagex.toml:2" || e.Key != "fetch.jobs" {
		t.Errorf("the first error is %#v", e)
	}
}

func TestUserFile(t *testing.T) {
	for want, env := range map[string][]string{
		"/x/sx/stagex.toml":          {"XDG_CONFIG_HOME", "/x", "HOME", "/h"},
		"/h/.config/sx/stagex.toml":  {"HOME", "/h"},
		"/h2/.config/sx/stagex.toml": {"XDG_CONFIG_HOME", "relative", "HOME", "/h2"},
		"":                           {"HOME", ""},
	} {
		if got := UserFile(getenv(env...)); got != want {
			t.Errorf("with %q: %q, want %q", env, got, want)
		}
	}
}

// A tree's file that is a link out of it, a pipe or a folder is neither followed nor waited for.
func TestHostileTreeFile(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"link out": func(path string) error { return os.Symlink(writeUser(t, "[fetch]\njobs = 9\n"), path) },
		"device":   func(path string) error { return os.Symlink("/dev/zero", path) },
		"pipe":     func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"folder":   func(path string) error { return os.Mkdir(path, 0o755) },
		"huge":     func(path string) error { return os.WriteFile(path, make([]byte, 2<<20), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := plant(filepath.Join(dir, FileName)); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if _, err := Load(Options{Tree: root.FS()}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestStateDir(t *testing.T) {
	if got := (Paths{}).StateDir("/src/stagex"); got != "/src/stagex/.sx" {
		t.Errorf("default: %q", got)
	}
	p := Paths{State: "/var/sx"}
	a, b := p.StateDir("/src/stagex"), p.StateDir("/other/stagex")
	if a == b || !strings.HasPrefix(a, "/var/sx/stagex-") || a != p.StateDir("/src/stagex/") {
		t.Errorf("got %q and %q", a, b)
	}
}

// TestBounds: whatever a file holds, a few lines say what is wrong, at once.
func TestBounds(t *testing.T) {
	million := strings.Repeat("a", 1000_000)
	var keys strings.Builder
	for i := range 9_000 {
		fmt.Fprintf(&keys, "key%d = 1\n", i)
	}
	for name, test := range map[string]struct{ text, where string }{
		"text":   {"\n[fetch]\nuser_agent = \"" + million + "\"\n", ":3: "},
		"name":   {"\n[fetch]\n" + million + " = 1\n", ":3: "},
		"number": {"[build]\njobs = " + strings.Repeat("9", 1000_000), ":2: "},
		"list":   {"[registries]\nhosts = [" + strings.Repeat("'a',", 200_000) + "]", ":2: "},
		"nested": {"a=" + strings.Repeat("{a=", 8000) + "1" + strings.Repeat("}", 8000), ":1: "},
		"keys":   {keys.String(), ":1: "},
		"size":   {"[build]\n" + strings.Repeat("#\n", 1<<20), ":"},
		"value":  {"[registries]\nhosts = \"" + strings.Repeat("a ", 4000) + "\"", ":2: "},
	} {
		for _, whose := range []string{"tree", "user"} {
			t.Run(name+" "+whose, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), FileName)
				if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
					t.Fatal(err)
				}
				o, where := Options{UserFile: file}, file
				if whose == "tree" {
					o, where = Options{Tree: os.DirFS(filepath.Dir(file))}, FileName
				}
				_, err := Load(o)
				if err == nil || !strings.HasPrefix(err.Error(), where+test.where) || len(err.Error()) > 10_000 {
					t.Errorf("%.300v, want %s", err, where+test.where)
				}
			})
		}
	}
}
