package progress_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

var update = flag.Bool("update", false, "write what is shown to testdata/")

// golden compares with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, string(data))
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shown differs (-want +got):\n%s\ngot:\n%s", diff, got)
	}
}

// shown is what a played run leaves on a writer that is no terminal.
func shown(t *testing.T, opts progress.Options) string {
	log, all := logOf(t, 23), ""
	synctest.Test(t, func(t *testing.T) {
		var out output
		d := open(t, &out, opts)
		play(t, d, log)
		d.Close()
		d.Warn("too late")
		d.Judged([]verdict.Verdict{
			{Ref: graph.Ref{Stage: "core", Name: "libc"}, Word: verdict.Match, Got: digest(t, "a"), Want: digest(t, "a"), Given: 2, Engines: []verdict.Engine{{Name: "ssh", Kind: "ssh"}}},
			{Ref: graph.Ref{Stage: "core", Name: "zlib"}, Word: verdict.Mismatch, Got: digest(t, "b"), Want: digest(t, "c"), Against: "ours", Note: "why", Tainted: []graph.Ref{{Stage: "core", Name: "libc"}}},
		})
		d.End(1, errors.New("no engine"))
		all = out.take()
	})
	return strings.ReplaceAll(all, log, "LOG")
}

func TestGolden(t *testing.T) {
	for _, mode := range []progress.Mode{progress.Plain, progress.Quiet, progress.RawJSON} {
		t.Run(string(mode), func(t *testing.T) {
			golden(t, string(mode)+".txt", shown(t, progress.Options{Mode: mode}))
		})
	}
	t.Run("colour", func(t *testing.T) {
		golden(t, "colour.txt", shown(t, progress.Options{Mode: progress.Quiet, Getenv: env("CLICOLOR_FORCE=1")}))
	})
}
