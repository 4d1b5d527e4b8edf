package enginetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestLintAsBuildx compares sx lint with docker's buildx build --check, on a stock
// buildkitd, over every Containerfile of the checkout that SX_TEST_TREE names: as it
// is, and with faults put in.
func TestLintAsBuildx(t *testing.T) {
	stagex := os.Getenv("SX_TEST_TREE")
	if stagex == "" || os.Getenv("SX_TEST_STOCK") != "1" {
		t.Skip("SX_TEST_STOCK=1 and SX_TEST_TREE, a StageX checkout, compare sx lint with buildx")
	}
	if err := errors.Join(programs.BuildStock("buildkitd", "buildctl"), programs.buildBuildx()); err != nil {
		t.Fatal(err)
	}
	b := newBuildx(t, StartStock(t, programs))
	for _, faulty := range []bool{false, true} {
		t.Run(fmt.Sprintf("faulty %t", faulty), func(t *testing.T) {
			tree := NewTree(t, programs, "", "")
			tree.must(copyTree(filepath.Join(stagex, "packages"), tree.Path("packages")))
			if faulty {
				tree.putFaultsIn()
			}
			b.compare(t, tree, faulty)
		})
	}
}

// buildxVersion is the release of buildx to compare with.
const buildxVersion = "v0.38.2"

// buildBuildx compiles buildx from its released module, with its own dependencies.
func (p Programs) buildBuildx() error {
	out, err := goOutput(os.TempDir(), "mod", "download", "-json", "github.com/docker/buildx@"+buildxVersion)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return err
	}
	return compile(module.Dir, p.path("buildx"), "-mod=readonly", "-ldflags=-s -w", "./cmd/buildx")
}

// buildx runs docker's buildx.
type buildx struct {
	stock *Stock
	env   []string
	empty string // an image without layers, which stands for every dependency
}

func newBuildx(t testing.TB, stock *Stock) *buildx {
	b := &buildx{stock: stock, empty: t.TempDir(), env: append(os.Environ(), "BUILDX_CONFIG="+t.TempDir(), "DOCKER_CONFIG="+t.TempDir())}
	writeEmptyImage(t, b.empty)
	if out, err := b.run("create", "--name=stock", "--driver=remote", "--use", "unix://"+stock.Socket); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return b
}

func (b *buildx) run(args ...string) (string, error) {
	cmd := exec.Command(b.stock.programs.path("buildx"), args...)
	cmd.Env = b.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("buildx %s: %w: %s", args[0], err, &stderr)
	}
	return stdout.String(), nil
}

// writeEmptyImage writes an OCI layout with an image of no layers, for both platforms
// of StageX.
func writeEmptyImage(t testing.TB, dir string) {
	t.Helper()
	blob := func(mediaType, extra, format string, args ...any) string {
		data := fmt.Appendf(nil, format, args...)
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755), os.WriteFile(filepath.Join(dir, "blobs/sha256", sum), data, 0o644)); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.%s+json","digest":"sha256:%s","size":%d%s}`, mediaType, sum, len(data), extra)
	}
	var manifests []string
	for _, arch := range []string{"amd64", "386"} {
		config := blob("config.v1", "", `{"architecture":%q,"os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`, arch)
		manifests = append(manifests, blob("manifest.v1", fmt.Sprintf(`,"platform":{"architecture":%q,"os":"linux"}`, arch),
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[]}`, config))
	}
	index := blob("index.v1", `,"annotations":{"org.opencontainers.image.ref.name":"latest"}`,
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}`, strings.Join(manifests, ","))
	for name, data := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[` + index + `]}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// check returns what buildx finds in the Containerfile of a step: "file:line rule:
// detail".
func (b *buildx) check(tree *Tree, s step) (found []string, err error) {
	r := s.Request
	args := []string{"build", "--call=check,format=json", "--file=" + tree.Path(r.File), "--platform=" + r.Platforms[0], "--build-context=fetch=" + b.empty}
	if r.Target != "" {
		args = append(args, "--target="+r.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(r.BuildArgs)) {
		args = append(args, "--build-arg="+k+"="+r.BuildArgs[k])
	}
	for name := range r.Contexts {
		args = append(args, "--build-context="+name+"=oci-layout://"+b.empty)
	}
	out, err := b.run(append(args, tree.Path(r.Context))...)
	var report struct {
		Warnings []struct {
			RuleName, Detail string
			Location         struct {
				Ranges []struct{ Start struct{ Line int } }
			}
		}
	}
	if wrong := json.Unmarshal([]byte(out), &report); wrong != nil {
		return nil, errors.Join(err, wrong) // with findings buildx fails, too
	}
	for _, w := range report.Warnings {
		line := 0
		if len(w.Location.Ranges) > 0 {
			line = w.Location.Ranges[0].Start.Line
		}
		found = append(found, fmt.Sprintf("%s:%d %s: %s", r.File, line, w.RuleName, w.Detail))
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// compare wants the same findings of both in each definition.
func (b *buildx) compare(t *testing.T, tree *Tree, faulty bool) {
	bySx := lintOf(t, tree)
	steps := onePerDefinition(tree.Requests())
	byBuildx := make([][]string, len(steps))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range steps {
		group.Go(func() (err error) {
			if byBuildx[i], err = b.check(tree, s); err != nil {
				t.Errorf("%s: %v", s.Request.File, err)
			}
			return nil
		})
	}
	group.Wait()
	rules, n := map[string]int{}, 0
	for i, s := range steps {
		for _, f := range byBuildx[i] {
			n++
			rules[strings.Fields(f)[1]]++
		}
		if got := bySx[s.Request.File]; !slices.Equal(got, byBuildx[i]) {
			t.Errorf("%s:\nsx lint says\n\t%s\nand buildx\n\t%s", s.Request.File, strings.Join(got, "\n\t"), strings.Join(byBuildx[i], "\n\t"))
		}
	}
	t.Logf("%d Containerfiles, %d findings: %v", len(steps), n, rules)
	if faulty && len(rules) < 8 || !faulty && n > 0 || len(steps) < 400 {
		t.Errorf("%d Containerfiles, %d findings of %d rules", len(steps), n, len(rules))
	}
}

// onePerDefinition returns the first step of each definition, which sx lint checks.
func onePerDefinition(steps []step) (first []step) {
	slices.SortFunc(steps, func(a, b step) int { return strings.Compare(a.Ref, b.Ref) })
	seen := map[string]bool{}
	for _, s := range steps {
		if !seen[s.Request.File] {
			seen[s.Request.File] = true
			first = append(first, s)
		}
	}
	return first
}

// lintOf returns what sx finds by BuildKit's rules, by file.
func lintOf(t *testing.T, tree *Tree) map[string][]string {
	t.Helper()
	run := tree.Start("lint", "--format", "json", "--level", "error")
	if code := run.Wait(); code != 0 && code != 2 {
		t.Fatalf("sx lint: %s", &run.Stderr)
	}
	var report struct {
		Findings []struct {
			Rule, File, Message, URL string
			Line                     int
		}
	}
	if err := json.Unmarshal([]byte(run.Stdout.String()), &report); err != nil {
		t.Fatalf("%v: %s", err, &run.Stderr)
	}
	found := map[string][]string{}
	for _, f := range report.Findings {
		if f.URL != "" { // of BuildKit's rules
			found[f.File] = append(found[f.File], fmt.Sprintf("%s:%d %s: %s", f.File, f.Line, f.Rule, f.Message))
		}
	}
	for file := range found {
		slices.Sort(found[file])
		found[file] = slices.Compact(found[file])
	}
	return found
}

// faults are edits that BuildKit's rules find, and that can be built all the same.
var faults = []struct{ pattern, to string }{
	{`(?m)^FROM (\S+) AS (\S+)`, "FROM $1 as $2"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nMAINTAINER somebody"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nENV OLD style"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nENV X=$$NOT_DEFINED_ANYWHERE"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nCMD echo in a shell"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nWORKDIR relative/path"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nenv X=y"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nARG API_TOKEN=secret\nENV PASSWORD=secret"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nCMD [\"a\"]\nCMD [\"b\"]"},
	{`(?m)^(FROM \S+ AS build)$`, "$1\nEXPOSE 80/TCP 127.0.0.1:80:80"},
	{`(?m)^FROM (\S+) AS build$`, "FROM --platform=$$TARGETPLATFORM $1 AS build"},
	{`(?m)^(FROM \S+ AS build)$`, "FROM scratch AS Upper\n$1"},
	{`(?m)^(FROM \S+ AS build)$`, "ARG NOWHERE\n$1\nARG PTH\nENV Y=$$PAHT"},
}

// putFaultsIn puts another fault into each Containerfile, in turns.
func (t *Tree) putFaultsIn() {
	t.t.Helper()
	files, err := filepath.Glob(t.Path("packages/*/*/Containerfile"))
	t.must(err)
	for i, file := range files {
		data, err := os.ReadFile(file)
		t.must(err)
		f := faults[i%len(faults)]
		t.must(os.WriteFile(file, regexp.MustCompile(f.pattern).ReplaceAll(data, []byte(f.to)), 0o644))
	}
}
