package enginetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// liarScript runs runc, and changes what the one step of core-greetings left.
const liarScript = `#!/bin/sh
for arg; do
	case $before in --bundle) bundle=$arg ;; esac
	case $arg in --bundle=*) bundle=${arg#--bundle=} ;; esac
	before=$arg
done
runc "$@"
code=$?
if [ -n "$bundle" ] && grep -q low-german.txt "$bundle/config.json"; then
	for f in "$bundle"/rootfs/greetings*/all.txt; do echo lie >>"$f"; done
fi
exit $code
`

// Of two engines one lies about one output: sx names it, both engines, both digests and the
// file, keeps both results apart from out/, and goes on with what is not built from it. With
// an engine that does not lie, all is proven by both.
func TestOnEachOfTwo(t *testing.T) {
	t.Parallel()
	if os.Getenv("SX_TEST_STOCK") != "1" {
		t.Skip("SX_TEST_STOCK=1 compiles a stock buildkitd to build on")
	}
	if err := programs.BuildStock("buildkitd", "buildctl"); err != nil {
		t.Fatal(err)
	}
	tree := Examples(t, programs, "")
	script := filepath.Join(t.TempDir(), "liar")
	tree.must(os.WriteFile(script, []byte(liarScript), 0o755))
	truthful, other, liar := StartStock(t, programs), StartStock(t, programs), StartStock(t, programs, "--oci-worker-binary", script)
	on := func(b *Stock) *Run {
		return tree.Start("build", "--all", "-k", "--no-cache", "--on-each", truthful.addr+","+b.addr)
	}
	run := on(liar).Want(3)
	for _, want := range []string{
		"sx: differs  core-greetings: the engines do not agree; out/core-greetings is as it was\n",
		truthful.addr + " built sha256:", liar.addr + " built sha256:", "usr/share/greetings/all.txt", "1 output that needs core-greetings: user-shout",
	} {
		if !strings.Contains(run.Stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, &run.Stderr)
		}
	}
	if strings.Contains(run.Stdout.String(), "core-greetings") || !strings.Contains(run.Stdout.String(), "core-names MATCH (on each of "+truthful.addr) {
		t.Errorf("its verdicts are\n%s", &run.Stdout)
	}
	if _, err := os.Stat(tree.Path("out", "core-greetings")); !os.IsNotExist(err) {
		t.Errorf("out/core-greetings is there: %v", err)
	}
	typed := regexp.MustCompile(`what differs: sx (diff (/\S+) \S+)\n`).FindStringSubmatch(run.Stderr.String())
	if typed == nil {
		t.Fatal("no command is named")
	}
	if diff := tree.Start(strings.Fields(typed[1])...).Want(1); !strings.Contains(diff.Stdout.String(), "usr/share/greetings/all.txt\n    content: ") {
		t.Errorf("sx %s:\n%s", typed[1], &diff.Stdout)
	}
	last := on(other).Want(0)
	if out := last.Stdout.String(); !strings.Contains(out, "16 outputs: 16 MATCH (16 of them on unix://") || strings.Count(out, " MATCH (on each of ") != 16 {
		t.Errorf("its verdicts are\n%s", out)
	}
	if _, err := os.Stat(typed[2]); !os.IsNotExist(err) {
		t.Errorf("the results of the former build are still there: %v", err)
	}
}
