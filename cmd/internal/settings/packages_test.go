package settings

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Both files speak of packages, key by key the user's wins.
func TestPackages(t *testing.T) {
	got, err := Load(Options{
		Tree:     treeOf("[packages.\"core-llvm\"]\nmemory = \"12GB\"\ntime = \"2h\"\n[packages.user-linux]\nmemory = \"4GiB\"\n"),
		UserFile: writeUser(t, "[packages.core-llvm]\nmemory = \"8GB\"\n[packages.\"a.b\"]\ntime = \"90s\"\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Package{
		"core-llvm": {Memory: 8e9, Time: 2 * time.Hour}, "user-linux": {Memory: 4 << 30}, "a.b": {Time: 90 * time.Second},
	}
	if diff := cmp.Diff(want, got.Packages); diff != "" {
		t.Error(diff)
	}
}

func TestPackagesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[packages.core-llvm]\nmemry = \"1GB\"":        `stagex.toml:2: unknown setting "packages.core-llvm.memry": did you mean "packages.core-llvm.memory"?`,
		"[packages.core-llvm]\nmemory = \"much\"":      `stagex.toml:2: setting "packages.core-llvm.memory": want a size`,
		"[packages.core-llvm]\ntime = \"0s\"":          `want a time from 1s`,
		"[packages]\ncore-llvm = 3":                    `stagex.toml:2: unknown setting "packages.core-llvm"`,
		"packages = 3":                                 `"packages" is a section`,
		"[packages.core-llvm.memory]\nmax = \"1GB\"\n": `want a text`,
		"[package.core-llvm]\nmemory = \"1GB\"":        `unknown section "[package]": did you mean "[packages]"?`,
	} {
		got, err := Load(Options{Tree: treeOf(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
		if len(got.Packages) > 0 {
			t.Errorf("%s: an error, and a value", text)
		}
	}
}

// Neither cores nor memory are promised to more builds than there is room for.
func TestJobsFor(t *testing.T) {
	for _, tt := range []struct {
		cores  int
		memory int64
		want   int
	}{{1, 64 << 30, 1}, {4, 64 << 30, 4}, {64, 256 << 30, 8}, {16, 8 << 30, 4}, {8, 1 << 30, 1}} {
		if got := jobsFor(tt.cores, tt.memory); got != tt.want {
			t.Errorf("%d cores and %d bytes: %d jobs, want %d", tt.cores, tt.memory, got, tt.want)
		}
	}
}
