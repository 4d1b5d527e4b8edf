package settings

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFileErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"misspelled key", "[fetch]\n\nperhost = 1\n", `:3: unknown setting "fetch.perhost": did you mean "fetch.per_host"?`},
		{"key without section", "per_host = 1\n", `:1: unknown setting "per_host": did you mean "fetch.per_host"?`},
		{"key in the wrong case", "[build]\nJobs = 1\n", `:2: unknown setting "build.Jobs": did you mean "build.jobs"?`},
		{"nothing near", "[fetch]\nfrobnicate = 1\n", `:2: unknown setting "fetch.frobnicate"`},
		{"misspelled section, once", "[engin]\nrunc = \"/x\"\nsnapshotter = \"auto\"\n", `:1: unknown section "[engin]": did you mean "[engine]"?`},
		{"unknown section", "[mirrors]\nurl = \"x\"\n", `:1: unknown section "[mirrors]"`},
		{"deep in an unknown section", "[a.b.c]\nd = 1\n", `:1: unknown section "[a]"`},
		{"section as a value", "build = 4\n", `:1: "build" is a section: write [build] and its keys below`},
		{"key as a section", "[build.jobs]\nx = 1\n", `:1: setting "build.jobs": want a text, a whole number, or true or false`},
		{"list", "[build]\nplatform = [\"linux/amd64\"]\n", `:2: setting "build.platform": want a text, a whole number, or true or false`},
		{"array of tables", "[[build]]\njobs = 1\n", `:1: "build" is a section: write [build] and its keys below`},
		{"fraction", "build.jobs = 1.5\n", `:1: setting "build.jobs": want a text, a whole number, or true or false`},
		{"quoted dot is no section", "\"build.jobs\" = 1\n", `:1: unknown setting "\"build.jobs\"": did you mean "build.jobs"?`},
		{"escapes are shown", "\"\\u001b[32mMATCH\" = 1\n", `:1: unknown setting "\"\\u001b[32mMATCH\""`},
		{"syntax", "[build]\njobs = \n", `:2: expected value but found '\n' instead`},
		{"given twice", "[build]\njobs = 1\njobs = 2\n", `:3: Key 'build.jobs' has already been defined.`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeUser(t, tt.text)
			_, err := Load(Options{UserFile: path})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, strings.TrimPrefix(err.Error(), path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFileSpellings(t *testing.T) {
	want := Default()
	want.Build.Jobs, want.Fetch.MaxFile, want.Build.KeepGoing = 3, 1<<20, true
	for _, text := range []string{
		"[build]\njobs = 3\nkeep_going = true\n[fetch]\nmax_file = 1048576\n",
		"build.jobs = 3\nbuild.keep_going = true\nfetch.max_file = \"1MiB\"\n",
		"build = { jobs = 3, keep_going = true }\nfetch = { max_file = \"1024KiB\" }\n",
	} {
		got, err := Load(Options{UserFile: writeUser(t, text)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

func TestUnknownEnv(t *testing.T) {
	got := UnknownEnv([]string{
		"SX_FETCH_PERHOST=2", "SX_BUILD_JOBS=2", "SX_TEST_TREE=/x", "HOME=/h", "SXY=1", "SX_ZZZZZZZZZZZZZZZ=1",
	})
	want := []string{
		`unknown variable "SX_FETCH_PERHOST": did you mean "SX_FETCH_PER_HOST"?`,
		`unknown variable "SX_ZZZZZZZZZZZZZZZ"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A tree's file never panics, never gives settings beside an error, and never touches what is the user's.
func FuzzTreeFile(f *testing.F) {
	for _, seed := range []string{
		"[fetch]\njobs = 3\nmax_file = \"1GiB\"\n", "[engine]\nrunc = \"/x\"\n", "a.b.c = 1", "[[build]]\n", "build = {jobs = [1]}",
		"\"build.jobs\" = 1", "[build.jobs]\nx = 1\n", "[fetch]\nstall = 1979-05-27\n", "\x00", "build.platform = \"linux/arm64\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Load(Options{Tree: treeOf(text)})
		if err != nil {
			if !cmp.Equal(got, Settings{}) {
				t.Error("settings beside an error")
			}
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Where, FileName) {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		want := Default()
		want.Build.Platforms, want.Fetch = got.Build.Platforms, got.Fetch
		want.Fetch.UserAgent = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("a tree said more than it may:\n%s", diff)
		}
		if got.Fetch.MaxFile > Default().Fetch.MaxFile || got.Fetch.MaxPartial > Default().Fetch.MaxPartial {
			t.Error("a tree raised a cap")
		}
	})
}
