package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValues(t *testing.T) {
	tests := []struct{ key, text, wantErr string }{
		{"build.jobs", "1", ""},
		{"build.jobs", "-1", "from 0 to 1024"},
		{"build.jobs", "1.5", "from 0 to 1024"},
		{"build.keep_going", "1", ""},
		{"build.keep_going", "yes", "want true or false"},
		{"build.platform", "linux/arm64,linux/386", ""},
		{"build.platform", "linux/riscv64", ""},
		{"build.platform", "linux/arm/v7", ""},
		{"build.platform", "", "want platforms"},
		{"build.platform", "linux", "want platforms"},
		{"build.platform", "darwin/arm64", "want platforms"},
		{"build.platform", "linux/amd64,", "want platforms"},
		{"build.platform", "linux/*", "want platforms"},
		{"build.platform", "amd64", `is spelled "linux/amd64"`},
		{"build.platform", "linux/x86_64", `is spelled "linux/amd64"`},
		{"build.platform", "linux/arm64/v8", `is spelled "linux/arm64"`},
		{"build.platform", "linux/amd64,linux/amd64", "named twice"},
		{"build.progress", "TTY", "want one of"},
		{"fetch.stall", "500ms", "from 1s to 1h"},
		{"fetch.stall", "2h", "from 1s to 1h"},
		{"fetch.stall", "1m30s", ""},
		{"fetch.max_file", "0", "want a size"},
		{"fetch.max_file", "-1GiB", "want a size"},
		{"fetch.max_file", "big", "want a size"},
		{"fetch.max_file", "1GiBB", "want a size"},
		{"fetch.max_file", "99999999PiB", "want a size"},
		{"fetch.user_agent", "curl/8.5.0 (like sx)", ""},
		{"fetch.user_agent", "a\r\nCookie: b", "plain ASCII"},
		{"fetch.user_agent", strings.Repeat("a", 257), "at most 256"},
		{"engine.runc", "runc", "absolute path"},
		{"engine.runc", "~/bin/runc", "absolute path"},
		{"engine.snapshotter", "btrfs", "want one of"},
		{"registries.hosts", "docker.io, registry.example:5000", ""},
		{"registries.hosts", "", "want hosts"},
		{"registries.hosts", "docker.io/stagex", "want hosts"},
		{"registries.hosts", "dockerio", "want hosts"},
		{"registries.hosts", "docker.io,docker.io", "named twice"},
		{"registries.namespace", "a/b", ""},
		{"registries.namespace", "A", "want a namespace"},
		{"registries.mirrors", "docker.io", "want <host>/<namespace>"},
		{"registries.mirrors", "stagex/core", "is not a host"},
		{"registries.plain_http", "", ""},
		{"registries.foreign", "", ""},
		{"registries.foreign", "docker.io, registry.example:5000, localhost", ""},
		{"registries.foreign", "index.docker.io", `is spelled "docker.io"`},
		{"registries.foreign", "docker.io/library", "want hosts"},
		{"registries.ca_file", "ca.pem", "absolute path"},
		{"registries.per_host", "0", "from 1 to 64"},
		{"paths.state", "", ""},
	}
	for _, tt := range tests {
		k, ok := keyNamed(tt.key)
		if !ok {
			t.Fatalf("no key %q", tt.key)
		}
		s := Default()
		err := k.set(&s, tt.text)
		if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s = %q: error %v, want %q", tt.key, tt.text, err, tt.wantErr)
		}
		if err != nil && !cmp.Equal(s, Default()) {
			t.Errorf("%s = %q: an error, and a value", tt.key, tt.text)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "100B": 100, "8GiB": 8 << 30, "8gib": 8 << 30, "8GB": 8e9, "8G": 8e9, "1.5KiB": 1536, "2 TiB": 2 << 40,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestParsePathCleans(t *testing.T) {
	if got, err := parsePath("/var//sx/"); err != nil || got != "/var/sx" {
		t.Errorf("got %q, %v", got, err)
	}
}
