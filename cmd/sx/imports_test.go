package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "codeberg.org/stagex/sx/"

// A ban keeps an import, or what begins with it when it ends in "...", out of a
// package and out of all that it imports; a direct ban out of the package only.
type ban struct {
	in, what string
	direct   bool
	except   []string // packages that may
	but      []string // imports that are allowed
	reason   string
}

// The directions of docs/architecture.md: cmd -> workers -> leaves.
var bans = []ban{
	{in: "graph", what: module + "...", but: []string{module + "graph/tomlscan", module + "cache/pack"},
		reason: "it is a leaf: definitions are read without knowing what is done with them"},
	{in: "graph/tomlscan", what: module + "...", reason: "it knows TOML, and nothing of StageX"},
	{in: "cache", what: module + "...", but: []string{module + "cache/oci", module + "cache/memo", module + "cache/disk", module + "cache/pack", module + "cache/layout"},
		reason: "it is a leaf: out/ is kept without knowing why something is built"},
	{in: "cache/oci", what: module + "...", reason: "it knows the documents of an image, and no file"},
	{in: "cache/oci", what: "os", direct: true, reason: "it knows the documents of an image, and no file"},
	{in: "cache/memo", what: module + "...", but: []string{module + "cache/oci", module + "cache/disk", module + "cache/pack"},
		reason: "what spares reading must not know what is read"},
	{in: "cache/disk", what: module + "...", reason: "it is a leaf: every package may keep files safely"},
	{in: "cache/layout", what: module + "...", but: []string{module + "cache/oci", module + "cache/memo", module + "cache/disk", module + "cache/pack"},
		reason: "one layout is read without knowing which folders there are"},
	{in: "cache/space", what: module + "cmd/...", reason: "which outputs are wanted is the caller's matter"},
	{in: "cache/pack", what: module + "...", reason: "it is a leaf: every package may keep what it has learnt"},
	{in: "graph", what: "net", reason: "reading a tree must not touch the network"},
	{in: "graph", what: "net/http", reason: "reading a tree must not touch the network"},
	{in: "graph", what: "os/exec", reason: "reading a tree must not run anything"},
	{in: "graph", what: "go.uber.org/zap...", reason: "it decides and returns; what is worth saying is in its values"},
	{in: "graph", what: "os", direct: true, reason: "its only input is an fs.FS, through which no link leads out of the tree"},
	{in: "cache", what: "net/http", direct: true, reason: "out/ is local"},
	{in: "cache", what: "os/exec", reason: "reading out/ must not run anything"},

	{in: "fetch/transfer", what: module + "...", reason: "it is a leaf: bytes are moved without knowing what they are for"},
	{in: "fetch/transfer", what: "os", direct: true, reason: "where bytes go is the caller's matter"},
	{in: "fetch/transfer", what: "os/exec", reason: "moving bytes must not run anything"},
	{in: "...", what: "github.com/hashicorp/go-retryablehttp", direct: true, except: []string{"fetch/transfer"},
		reason: "one request is repeated in one place"},
	{in: "fetch/gitpack", what: module + "...", but: []string{module + "fetch/transfer"},
		reason: "it speaks a protocol; what arrives is checked by whoever knows objects"},
	{in: "fetch/gitpack", what: "os/exec", reason: "no git is run, and none is needed"},
	{in: "cmd/internal/checkout", what: module + "...", but: []string{module + "fetch/gitpack", module + "fetch/transfer", module + "cache/disk",
		module + "cmd/internal/history", module + "graph", module + "graph/tomlscan", module + "cache/pack"},
		reason: "a tree is fetched without knowing what is done with it"},
	{in: "cmd/internal/checkout", what: "os/exec", reason: "git would run what a repository's configuration says"},
	{in: "fetch", what: module + "buildkit...", reason: "workers do not know each other"},
	{in: "fetch", what: module + "preseed...", reason: "workers do not know each other"},
	{in: "fetch", what: "os/exec", reason: "downloading must not run anything"},
	{in: "preseed", what: module + "fetch", reason: "workers do not know each other"},
	{in: "preseed", what: module + "buildkit...", reason: "workers do not know each other"},
	{in: "buildkit", what: module + "fetch", reason: "workers do not know each other"},
	{in: "buildkit", what: module + "preseed...", reason: "workers do not know each other"},
	{in: "...", what: module + "cmd/...", except: []string{"cmd/..."}, reason: "imports point one way: cmd, workers, leaves"},

	{in: "...", what: "github.com/moby/buildkit/client...", direct: true, except: []string{"buildkit", "buildkit/embedded", "buildkit/embedded/worker", "buildkit/remote", "cmd/internal/lint"},
		reason: "package buildkit and its engines alone speak BuildKit's protocol"},
	{in: "...", what: "github.com/containerd/containerd/v2...", direct: true, except: []string{"buildkit", "buildkit/embedded", "buildkit/embedded/export", "buildkit/embedded/worker"},
		reason: "package buildkit alone holds an engine"},
	{in: "...", what: "github.com/moby/buildkit/control...", except: []string{"buildkit/embedded", "buildkit/embedded/worker", "buildkit/enginetest", "cmd/sx"},
		reason: "only the program that is an engine links BuildKit's solver; the race detector covers the rest"},
	{in: "buildkit/embedded/export", what: module + "...", reason: "it is about BuildKit's exporter, and nothing else"},
	{in: "buildkit/embedded/spans", what: module + "...", reason: "it is about BuildKit's spans, and sends them to who asked"},
	{in: "buildkit/link", what: module + "...", reason: "it is about TCP, and knows no engine"},
	{in: "buildkit/embedded/worker", what: module + "buildkit/embedded", reason: "what an engine is made of does not know which process runs it"},
	{in: "buildkit", what: module + "buildkit/embedded", reason: "the client of an engine does not know which one it speaks to"},
	{in: "buildkit", what: module + "buildkit/remote", reason: "the client of an engine does not know which one it speaks to"},
	{in: "buildkit/remote", what: module + "...", but: []string{module + "buildkit", module + "buildkit/link", module + "buildkit/xzheader", module + "graph",
		module + "graph/tomlscan", module + "cache", module + "cache/oci", module + "cache/memo", module + "cache/disk", module + "cache/pack", module + "cache/layout"},
		reason: "it reaches an engine, and does not know what is built there"},
	{in: "buildkit/remote", what: module + "graph", direct: true, reason: "it reaches an engine, and does not know what is built there"},
	{in: "buildkit/remote", what: module + "cache", direct: true, reason: "it reaches an engine, and does not know what is built there"},
	{in: "buildkit", what: module + "buildkit/kubernetes", reason: "the client of an engine does not know which one it speaks to"},
	{in: "buildkit/kubernetes", what: module + "...", but: []string{module + "buildkit", module + "buildkit/link", module + "buildkit/xzheader", module + "graph",
		module + "graph/tomlscan", module + "cache", module + "cache/oci", module + "cache/memo", module + "cache/disk", module + "cache/pack", module + "cache/layout"},
		reason: "it reaches engines in a cluster, and does not know what is built there"},
	{in: "buildkit/kubernetes", what: module + "graph", direct: true, reason: "it reaches engines in a cluster, and does not know what is built there"},
	{in: "buildkit/kubernetes", what: module + "cache", direct: true, reason: "it reaches engines in a cluster, and does not know what is built there"},
	{in: "buildkit/kubernetes", what: "k8s.io/api/...", reason: "the types of all objects make sx larger and slower to start; it needs a few fields"},
	{in: "...", what: "k8s.io/...", direct: true, except: []string{"buildkit/kubernetes..."}, reason: "package kubernetes alone speaks to clusters"},
	{in: "...", what: "github.com/gorilla/websocket", direct: true, except: []string{"buildkit/kubernetes..."}, reason: "package kubernetes alone speaks to clusters"},
	{in: "buildkit/xzheader", what: module + "...", reason: "it is a leaf: it knows a file format"},
	{in: "buildkit/gogzip", what: module + "...", reason: "it is a leaf: bytes are compressed without knowing what they are"},
	{in: "...", what: "github.com/google/go-containerregistry...", except: []string{"preseed", "cmd/..."},
		reason: "package preseed alone speaks to registries"},
	{in: "...", what: "net/http", direct: true, except: []string{"fetch", "fetch/transfer", "fetch/gitpack", "preseed", "buildkit", "buildkit/embedded", "buildkit/remote", "buildkit/kubernetes...", "cmd/internal/report/live"},
		reason: "workers alone use the network"},
	{in: "...", what: "github.com/spf13/cobra", except: []string{"cmd/sx"}, reason: "the command line is read in cmd/sx alone"},
	{in: "cmd/internal/tree", what: module + "cmd/internal/...", but: []string{module + "cmd/internal/text"},
		reason: "what lies in a tree is known without knowing what is done with it"},
	{in: "cmd/internal/verdict", what: module + "cmd/internal/plan...", reason: "what is proven does not hang on what would be built"},
	{in: "cmd/internal/plan", what: module + "cmd/internal/schedule", reason: "what is built does not hang on when"},
	{in: "cmd/internal/plan", what: module + "cmd/internal/driver", reason: "deciding changes nothing"},
	{in: "cmd/internal/fleet", what: module + "buildkit/remote...", reason: "dialling is the engines' own"},
	{in: "cmd/internal/fleet", what: module + "cmd/internal/...", reason: "who may build what hangs on no plan, order or run"},
	{in: "cmd/internal/publish", what: module + "cmd/internal/driver", reason: "what may be published does not hang on how it is built"},
	{in: "cmd/internal/schedule", what: module + "cmd/internal/fleet", reason: "an order is found without knowing what a machine is"},
	{in: "cmd/internal/schedule", what: module + "cmd/internal/driver", reason: "an order is found without building"},
	{in: "cmd/internal/buildlog", what: module + "cmd/internal/driver", reason: "a log is read without building"},
	{in: "cmd/internal/...", what: module + "buildkit/embedded...", reason: "nothing but cmd/sx links BuildKit's solver"},
	{in: "cmd/internal/history", what: "os/exec", reason: "git would run what the tree's configuration says"},
	{in: "cmd/internal/signature", what: module + "...", reason: "who signed is said beside a verdict and decides none; a tree has no say in it"},
	{in: "cmd/internal/signature", what: "net/http", reason: "files are read by whoever has them; keys come from the user alone"},
	{in: "cmd/internal/signature", what: "os/exec", reason: "no gpg is needed to read a signature"},
	{in: "cmd/internal/signers", what: module + "cmd/internal/verdict", reason: "who signed is said beside a verdict and decides none"},
	{in: "cmd/internal/signers", what: module + "cmd/internal/tree", reason: "a tree has no say in who signed"},
	{in: "cmd/internal/verdict", what: module + "cmd/internal/panel", reason: "one judge does not know that there are others"},
	{in: "cmd/internal/panel", what: module + "cmd/internal/driver", reason: "judging changes nothing"},
	{in: "cmd/internal/imagediff", what: module + "...", but: []string{module + "cache/oci", module + "cache/disk", module + "cmd/internal/text", module + "cmd/internal/layer"},
		reason: "two images are compared without knowing where they come from"},
	{in: "cmd/internal/sbom", what: module + "...", but: []string{module + "cache/oci", module + "graph", module + "graph/tomlscan", module + "cache/pack"},
		reason: "a bill lists what definitions say, and the digests that it is given"},
	{in: "cmd/internal/sbom", what: "os", direct: true, reason: "it reads nothing and has no clock: equal trees give equal bytes"},
	{in: "cmd/internal/pins", what: module + "...", but: []string{module + "cache/oci"},
		reason: "it reads text; releases come from the caller, not from a checkout"},
	{in: "cmd/internal/relations", what: module + "...", but: []string{module + "graph", module + "graph/tomlscan", module + "cache/pack"},
		reason: "it walks a graph, and does not know what lies in out/"},
	{in: "cmd/internal/lint", what: module + "...", but: []string{module + "graph", module + "graph/tomlscan", module + "cache/pack", module + "cmd/internal/relations", module + "cmd/internal/text"},
		reason: "definitions are checked without an engine, out/ or a registry"},
	{in: "cmd/internal/lint", what: "os", direct: true, reason: "its only files are those of the fs.FS that it is given"},
	{in: "cmd/internal/edit", what: module + "...", but: []string{module + "graph", module + "graph/tomlscan", module + "cache/pack", module + "cache/disk"},
		reason: "a definition is changed without knowing where hashes come from, or what is built"},
	{in: "cmd/internal/edit", what: "net/http", reason: "who has the network gives it the hashes"},
	{in: "cmd/internal/edit", what: "os/exec", reason: "an edit runs nothing of a tree"},
	{in: "cmd/internal/schema", what: "os", direct: true, reason: "a schema is the same for every tree"},
	{in: "cmd/internal/layer", what: module + "...", but: []string{module + "cache/oci", module + "cache/disk"},
		reason: "a layer is opened without knowing whose it is"},
	{in: "cmd/internal/inspect", what: module + "...", but: []string{module + "cache/oci", module + "cache/disk", module + "cache/memo", module + "cache/pack", module + "cmd/internal/layer"},
		reason: "an image is looked into without knowing which output it is of"},
	{in: "cmd/internal/inspect", what: "os/exec", reason: "bytes that nobody proved are read, never run"},
	{in: "cmd/internal/selector", what: module + "...", but: []string{module + "graph", module + "graph/tomlscan", module + "cache/pack"},
		reason: "what was typed is read without knowing what it is for"},
	{in: "cmd/internal/doctor", what: module + "cmd/internal/driver", reason: "a machine is looked at without building anything of a tree"},
	{in: "cmd/internal/doctor", what: module + "graph", direct: true, reason: "a machine is looked at without reading a definition"},
	{in: "cmd/internal/doctor", what: "os/exec", direct: true, reason: "programs are run by the packages that use them"},
	{in: "cmd/internal/impact", what: module + "...", but: []string{module + "graph", module + "graph/tomlscan", module + "cache/pack", module + "cache", module + "cache/oci",
		module + "cache/memo", module + "cache/disk", module + "cache/layout", module + "cmd/internal/relations", module + "cmd/internal/text"},
		reason: "a change is followed through a graph without reading git, or knowing how to build"},
	{in: "cmd/internal/impact", what: "os", direct: true, reason: "its files are those that it is given"},
	{in: "cmd/internal/unused", what: module + "cmd/internal/tree", reason: "what experiments has no say in records and proofs"},
	{in: "cmd/internal/unused", what: "os", direct: true, reason: "a Containerfile is edited in memory only"},
	{in: "cmd/internal/relations", what: "os", direct: true, reason: "its only files are those of the fs.FS that it is given"},
	{in: "cmd/internal/pins", what: "os", direct: true, reason: "it reads text; files are the caller's"},
	{in: "cmd/internal/imagediff", what: "net/http", reason: "whoever has the images gives their blobs"},
	{in: "cmd/internal/imagediff", what: "os/exec", reason: "bytes that nobody proved are read, never run or given to a parser of others"},
	{in: "...", what: "github.com/ProtonMail/go-crypto...", direct: true, except: []string{"cmd/internal/signature"},
		reason: "package signature alone reads OpenPGP"},
	{in: "cmd/internal/ci", what: module + "...", but: []string{module + "cmd/internal/text"},
		reason: "a CI system is told results; it has no say in them"},
	{in: "cmd/internal/ci", what: "os", direct: true, reason: "which files and variables there are is the caller's matter"},
	{in: "cmd/internal/release", what: module + "cmd/internal/signature...", reason: "what may be released hangs on verdicts; signatures are counted beside them"},
	{in: "cmd/internal/release", what: "net/http", direct: true, reason: "it holds rules; registries are package preseed's"},
	{in: "cmd/internal/manpage", what: module + "...", reason: "it knows a language of text, and no command"},
	{in: "cmd/internal/receipt", what: module + "cmd/internal/driver", reason: "a receipt is read without knowing how to build"},
	{in: "cmd/internal/receipt", what: "os/exec", reason: "signing is the caller's matter"},
	{in: "cmd/internal/signature", what: module + "cmd/internal/receipt", reason: "a machine's word never counts in a quorum of signatures"},
	{in: "cmd/internal/reproduce", what: module + "cmd/internal/signature", reason: "what a build proves does not hang on who says so"},
	{in: "cmd/internal/driver", what: module + "cmd/internal/reproduce", reason: "a run does not know what its results are for"},
	{in: "cmd/internal/events", what: module + "...", but: []string{module + "cmd/internal/text"},
		reason: "events are read without knowing who tells them"},
	{in: "cmd/internal/report...", what: module + "...", but: []string{module + "cmd/internal/events", module + "cmd/internal/report", module + "cmd/internal/report/runs", module + "cmd/internal/report/page", module + "cmd/internal/text", module + "cache/disk"},
		reason: "whoever shows a run reads its events, and nothing asks the driver"},
	{in: "cmd/internal/report/runs", what: "net/http", reason: "runs are kept here"},
	{in: "cmd/internal/report...", what: "os/exec", except: []string{"cmd/internal/report/trace"}, reason: "showing a run runs nothing"},
	{in: "...", what: "go.opentelemetry.io/...", direct: true, except: []string{"cmd/internal/report/trace", "buildkit", "buildkit/embedded..."},
		reason: "traces are made of events, in one place"},
	{in: "cmd/internal/startup", what: module + "...", reason: "it is initialized before what allocates"},
	{in: "cmd/internal/text", what: module + "...", reason: "everything that prints uses it"},
}

func TestImports(t *testing.T) {
	packages := listPackages(t)
	for _, b := range bans {
		for _, p := range packages {
			if !matches(b.in, p.name) || slices.ContainsFunc(b.except, func(e string) bool { return matches(e, p.name) }) {
				continue
			}
			imports := p.Deps
			if b.direct {
				imports = p.Imports
			}
			for _, i := range imports {
				if matches(b.what, i) && !slices.Contains(b.but, i) {
					t.Errorf("%s imports %s: %s", p.name, i, b.reason)
				}
			}
		}
	}
}

// matches reports that pattern, which may end in "...", stands for name.
func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(name, prefix) || name == strings.TrimSuffix(prefix, "/")
	}
	return pattern == name
}

type listedPackage struct {
	ImportPath    string
	Dir           string
	GoFiles       []string
	Imports, Deps []string
	name          string // below the module
}

func listPackages(t *testing.T) (out []listedPackage) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", "./...")
	cmd.Dir = "../.."
	data, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(data))); ; {
		var p listedPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		p.name = strings.TrimPrefix(p.ImportPath, module)
		out = append(out, p)
	}
}

// words that belong to cmd/sx alone, and why.
var words = map[string]string{
	"os.Exit": "only main exits", "os.Stdout": "only main prints", "os.Stderr": "only main prints",
	"fmt.Print": "only main prints", "fmt.Println": "only main prints", "fmt.Printf": "only main prints",
	"zap.L": "a logger comes in Options", "zap.ReplaceGlobals": "a logger comes in Options",
}

// theEngine is the main function of another process.
const theEngine = "buildkit/embedded/child_linux.go"

func TestOnlyMainPrintsAndExits(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, name := range p.GoFiles {
			file := filepath.Join(p.name, name)
			if p.name == "cmd/sx" || strings.HasPrefix(p.name, "scripts/") || file == theEngine { // programs
				continue
			}
			for _, used := range selectors(t, filepath.Join(p.Dir, name)) {
				if reason, ok := words[used]; ok {
					t.Errorf("%s uses %s: %s", file, used, reason)
				}
			}
		}
	}
}

// selectors are the "x.Y" of a file.
func selectors(t *testing.T, file string) (out []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				out = append(out, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return out
}
