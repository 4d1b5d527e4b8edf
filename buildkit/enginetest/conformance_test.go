package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

// odd has every kind of file that layers can have, and every input of a build.
const odd = `
-- packages/bootstrap/seed/package.toml --
[package]
name = "seed"
platforms = ["linux/386"]
-- packages/bootstrap/seed/Containerfile --
FROM scratch
COPY data /seed
-- packages/bootstrap/seed/data --
seed
-- packages/core/base/package.toml --
[package]
name = "base"
version = "1.2.3-rc4"
-- packages/core/base/Containerfile --
# check=skip=all
FROM scratch AS build
COPY tool /
RUN --network=none ["/tool", "mkdir", "/r/d/e", ",", "write", "/r/d/gone", "1", ",", "write", "/r/d/e/kept", "2", ",", "write", "/r/old", "3", ",", "touch", "0", "/r/old", ",", "touch", "4102444800", "/r/d", ",", "link", "/r/d/e/kept", "/r/hard", ",", "symlink", "../nowhere", "/r/dangling", ",", "chown", "1234", "4294967000", "/r/dangling", ",", "chown", "70000", "7", "/r/hard", ",", "chmod", "4755", "/r/hard", ",", "chmod", "1777", "/r/d"]

FROM scratch AS package
ARG VERSION VERSION_MAJOR_MINOR VERSION_STRIP_SUFFIX
COPY --from=build /r/ /
COPY tool /bin/
COPY --chown=1000:2000 --chmod=0640 files/ /owned/
COPY --link files/run /linked
COPY --from=stagex/bootstrap-seed /seed /from/
COPY <<-"EOF" /doc
	$VERSION is not expanded
EOF
ENV V=$VERSION S=$VERSION_STRIP_SUFFIX M=$VERSION_MAJOR_MINOR
LABEL a=b
USER 1000:2000
-- packages/core/base/files/run --
run
-- packages/core/base/files/plain --
plain
-- packages/core/worked/package.toml --
[package]
name = "worked"
version_from = "core-base"
-- packages/core/worked/Containerfile --
FROM stagex/core-base
USER 0
RUN --network=none ["/bin/tool", "rm", "/d/gone", ",", "rm", "/owned", ",", "mkdir", "/owned", ",", "write", "/owned/new", "x", ",", "rm", "/hard", ",", "mv", "/linked", "/moved", ",", "chmod", "2750", "/from", ",", "chown", "5", "6", "/old"]
WORKDIR /a/b
COPY --from=stagex/bootstrap-seed . /again/
VOLUME /v
EXPOSE 80
STOPSIGNAL 9
ENTRYPOINT ["/bin/tool"]
CMD ["fail", "3"]
-- packages/core/final/package.toml --
[package]
name = "final"
version = "3"
-- packages/core/final/Containerfile --
FROM stagex/core-worked AS below
USER 0
RUN --network=none ["/bin/tool", "mkdir", "/opaque/in/deep", ",", "write", "/opaque/in/deep/gone", "1", ",", "write", "/opaque/kept", "2"]

FROM below
RUN --network=none ["/bin/tool", "rm", "/opaque", ",", "mkdir", "/opaque/in", ",", "write", "/opaque/in/new", "3", ",", "link", "/opaque/in/new", "/opaque/hard", ",", "fifo", "/opaque/fifo", ",", "write", "/opaque/suid", "4", ",", "chown", "77777", "4294967000", "/opaque/suid", ",", "chmod", "6755", "/opaque/suid", ",", "touch", "86400", "/opaque/in/new", ",", "touch", "4102444800", "/opaque/in", ",", "mkdir", "/LONG/LONG", ",", "write", "/LONG/LONG/LONG", "5", ",", "symlink", "/LONG/LONG/LONG/LONG", "/LONG/link"]
RUN --network=none ["/bin/tool", "rm", "/LONG/link", ",", "link", "/opaque/hard", "/opaque/harder"]
-- packages/user/family/package.toml --
[package]
name = "family"
version = "2"
subpackages = ["one", "two"]
SOURCES
-- packages/user/family/Containerfile --
FROM scratch AS build
ADD fetch/gz.tar.gz /gz
ADD fetch/xz.tar.xz /xz
COPY --from=fetch . /raw

FROM scratch AS package-one
COPY --from=build /gz /xz /

FROM stagex/core-worked AS package-two
COPY --from=build / /all
-- packages/user/both/package.toml --
[package]
name = "both"
platforms = ["linux/386", "linux/amd64"]
-- packages/user/both/Containerfile --
FROM scratch
ARG TARGETARCH
COPY only-${TARGETARCH} /only
-- packages/user/both/only-386 --
386
-- packages/user/both/only-amd64 --
amd64
`

// On every engine, sx leaves in out/, byte for byte, what buildctl with upstream's
// options leaves on a stock buildkitd.
func TestConformance(t *testing.T) {
	engines := wantedEngines(t)
	if err := programs.BuildStock("buildkitd", "buildctl"); err != nil {
		t.Fatal(err)
	}
	stock := StartStockTLS(t, programs)
	examples, odd, modest := Examples(t, programs, ""), oddTree(t, false), oddTree(t, true)
	for _, tree := range []*Tree{examples, odd, modest} {
		reference(stock, tree)
	}
	named := os.Getenv("SX_TEST_ENGINES") != ""
	for _, e := range engines {
		t.Run(e.Name, func(t *testing.T) {
			stock := stock
			if e.Shared && named { // nothing that another way built is in its cache
				stock, e.Shared = StartStockTLS(t, programs), false
			}
			way := e.Open(t, stock)
			t.Run("examples", func(t *testing.T) { conform(t, e, way, examples) })
			odd := odd
			if e.Ordinary {
				odd = modest
			}
			t.Run("odd", func(t *testing.T) { conform(t, e, way, odd) })
		})
	}
}

// reference builds a tree as upstream does.
func reference(stock *Stock, tree *Tree) {
	steps := tree.Requests()
	for _, step := range steps {
		stock.Build(tree, step)
	}
	for _, step := range steps { // which upstream's way leaves in the tree
		tree.must(os.RemoveAll(tree.Path(step.Request.Context, "fetch")))
	}
}

// wantedEngines returns the engines that SX_TEST_ENGINES names, separated by commas,
// or else all; docker's kinds need a dockerd, kubernetes' ones the programs of a
// cluster.
func wantedEngines(t *testing.T) (wanted []Engine) {
	names := strings.FieldsFunc(os.Getenv("SX_TEST_ENGINES"), func(r rune) bool { return r == ',' })
	if len(names) == 0 && os.Getenv("SX_TEST_STOCK") != "1" {
		t.Skip("SX_TEST_STOCK=1 compiles a stock buildkitd and compares with it; SX_TEST_ENGINES names engines")
	}
	for _, e := range Engines {
		if i := slices.Index(names, e.Name); i >= 0 {
			names = slices.Delete(names, i, i+1)
			wanted = append(wanted, e)
		} else if os.Getenv("SX_TEST_ENGINES") == "" && (!e.Docker || os.Getenv("SX_TEST_DOCKERD") != "") && (!e.Kubernetes || os.Getenv("SX_TEST_KUBERNETES") != "") {
			wanted = append(wanted, e)
		}
	}
	if len(names) > 0 {
		t.Fatalf("SX_TEST_ENGINES names engines that are none: %q", names)
	}
	return wanted
}

// conform builds a copy of ref's tree with sx and compares. The files of the copy
// have other times, which must not matter, although a stock buildctl would carry
// them into the image.
func conform(t *testing.T, e Engine, way Way, ref *Tree) {
	var dir, home string
	var user *syscall.Credential
	if e.Ordinary {
		home, user = newUser(t)
		dir = filepath.Join(home, "tree")
	}
	tree := NewTree(t, programs, dir, "")
	for _, part := range []string{"packages", "fetch", "digests"} {
		if _, err := os.Stat(ref.Path(part)); err == nil {
			tree.must(copyTree(ref.Path(part), tree.Path(part)))
			if part != "digests" {
				tree.vary(part, beforeEpoch)
			}
		}
	}
	if e.Ordinary {
		tree.asUser(home, user)
	}
	tree.Env = append(tree.Env, way...)
	args, word := []string{"-v", "build", "--all"}, "MATCH"
	if e.Kind != "" {
		word += " (on " + e.Kind + ")"
	}
	if !e.Shared {
		args = append(args, "--no-cache")
	}
	began := time.Now()
	run := tree.Start(args...).Want(0)
	if m := moved.FindStringSubmatch(run.Stderr.String()); m != nil {
		t.Logf("%-16s %s: %4.1f s, %8s bytes sent, %8s received", e.Name, path.Base(t.Name()), time.Since(began).Seconds(), m[1], m[2])
	} else {
		t.Logf("%-16s %s: %4.1f s", e.Name, path.Base(t.Name()), time.Since(began).Seconds())
	}
	if out, err := exec.Command("diff", "-r", ref.Path("out"), tree.Path("out")).CombinedOutput(); err != nil {
		t.Errorf("diff -r of stock and sx: %v\n%s", err, out)
	}
	if _, err := os.Stat(tree.Path("digests")); err != nil {
		return // nothing is published of this one
	}
	closures := closureSizes(ref.Requests())
	for line := range strings.Lines(run.Stdout.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ") // the digest
		name, verdict, _ := strings.Cut(line, " ")
		n, ok := closures[name]
		if !ok {
			continue
		}
		delete(closures, name)
		want := word
		if e.Shared { // the engine's cache counts once for each output that was built on it
			want += fmt.Sprintf(" given %d unproven input", n)
		}
		if rest, ok := strings.CutPrefix(verdict, want); !ok || !e.Shared && rest != "" {
			t.Errorf("%s is %q, want %q", name, verdict, want)
		}
	}
	if len(closures) > 0 {
		t.Errorf("no verdict of %v in:\n%s", closures, &run.Stdout)
	}
}

// closureSizes returns the size of each output's closure, itself included.
func closureSizes(steps []step) map[string]int {
	closures, sizes := map[string]map[string]bool{}, map[string]int{}
	for _, s := range steps { // dependencies first
		c := map[string]bool{s.Ref: true}
		for _, layout := range s.Request.Contexts {
			maps.Copy(c, closures[path.Base(layout)])
		}
		closures[s.Ref], sizes[s.Ref] = c, len(c)
	}
	return sizes
}

// moved is what sx -v logs about a connection.
var moved = regexp.MustCompile(`\(bytes sent (\d+), bytes received (\d+)\)`)

// modestly changes the owners in odd to ids that useradd gives a user. It changes
// the seed too, because a stock buildkitd that knows a dependency already mentions
// it in index.json.
var modestly = strings.NewReplacer("4294967000", "60000", "77777", "7777", "70000", "7000", "/data --\nseed", "/data --\nmodest seed")

// oddTree adds to odd what txtar cannot represent. A modest one needs no root.
func oddTree(t *testing.T, modest bool) *Tree {
	odd := odd
	if modest {
		odd = modestly.Replace(odd)
	}
	tree := NewTree(t, programs, "", odd)
	var gz, x bytes.Buffer
	zip := gzip.NewWriter(&gz)
	oddTar(t, zip, modest)
	tree.must(zip.Close())
	xw, err := xz.NewWriter(&x)
	tree.must(err)
	oddTar(t, xw, modest)
	tree.must(xw.Close())
	sources := tree.Source("user/family", "gz.tar.gz", gz.Bytes()) +
		tree.Source("user/family", "xz.tar.xz", x.Bytes()) +
		tree.Source("user/family", "plain.txt", []byte("plain\n"))
	toml := tree.Read("packages/user/family/package.toml")
	tree.Write("packages/user/family/package.toml", []byte(strings.Replace(toml, "SOURCES", sources, 1)))

	base := "packages/core/base/files/"
	long := strings.Repeat("long-name-", 20)
	final := tree.Read("packages/core/final/Containerfile")
	tree.Write("packages/core/final/Containerfile", []byte(strings.ReplaceAll(final, "LONG", long)))
	tree.Write(base+long+"/"+long, []byte("long\n"))
	tree.Write(base+"ünïcödé \U0001f331", []byte("utf-8\n"))
	tree.Write(base+"empty", nil)
	tree.mkdir(base + "folder")
	tree.must(os.Symlink("run", tree.Path(base+"link")))
	tree.must(os.Chmod(tree.Path(base+"run"), 0o755))
	for name, at := range map[string]time.Time{
		"plain": time.Unix(1, 0), "empty": time.Unix(4102444800, 5), "run": time.Unix(1, 999999999),
	} {
		tree.must(os.Chtimes(tree.Path(base+name), at, at))
	}
	return tree
}

// oddTar returns an archive whose owners, modes and times are not the builder's.
func oddTar(t *testing.T, w io.Writer, modest bool) {
	tw := tar.NewWriter(w)
	at := time.Unix(1_500_000_000, 123_000_000)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o2775, Uid: 3, Gid: 4},
		{Typeflag: tar.TypeReg, Name: "dir/file", Mode: 0o4711, Size: 4, Uid: 3_000_000, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}},
		{Typeflag: tar.TypeLink, Name: "dir/hard", Linkname: "dir/file", Mode: 0o644},
		{Typeflag: tar.TypeSymlink, Name: "dir/sym", Linkname: "/etc/passwd", Mode: 0o777},
		{Typeflag: tar.TypeChar, Name: "dir/null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Typeflag: tar.TypeFifo, Name: "dir/fifo", Mode: 0o600},
	} {
		if h.ModTime, h.Format = at, tar.FormatPAX; modest {
			if h.Typeflag == tar.TypeChar {
				continue
			}
			h.Uid = min(h.Uid, 60000)
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			tw.Write([]byte("data"))
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
}
