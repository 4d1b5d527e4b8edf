package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
)

func init() {
	commands["follow"], commands["stagex"] = follow, standIn
}

// TestDocs runs the commands of the pages: testdata/docs/<page>.txt.
func TestDocs(t *testing.T) {
	needEngine(t)
	testscript.Run(t, engineParams("testdata/docs", t))
}

// A pageCommand is one command in a block of code of a page.
type pageCommand struct {
	line   int
	text   string   // as a shell reads it
	code   string   // the exit code that the page says it has
	output []string // lines that it prints, as far as the page has them
}

// commandsOf returns the commands of a page's blocks of code, in order. In a block with
// lines that begin with "$ " these are the commands, and the others are what they print;
// in another every line is one, but for the programs that isCommand does not know.
func commandsOf(page string) []pageCommand {
	var all []pageCommand
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "    ") || i > 0 && strings.TrimSpace(lines[i-1]) != "" && !strings.HasPrefix(lines[i-1], "    ") && !strings.HasPrefix(lines[i-1], "#") {
			continue
		}
		begin := i
		for i < len(lines) && strings.HasPrefix(lines[i], "    ") {
			i++
		}
		all = append(all, blockCommands(begin+1, lines[begin:i])...)
	}
	return all
}

func blockCommands(line int, block []string) (all []pageCommand) {
	session := slices.ContainsFunc(block, func(l string) bool { return strings.HasPrefix(l, "    $ ") })
	for i, l := range block {
		text, typed := strings.CutPrefix(l[4:], "$ ")
		switch {
		case typed || !session && isCommand.MatchString(text):
			c := pageCommand{line: line + i, text: strings.TrimSpace(afterwards.ReplaceAllString(text, "")), code: "0"}
			if m := codeSaid.FindStringSubmatch(text); m != nil {
				c.code = m[1]
			}
			all = append(all, c)
		case session && len(all) > 0:
			all[len(all)-1].output = append(all[len(all)-1].output, text)
		}
	}
	return all
}

var (
	isCommand = regexp.MustCompile(`^(sx|\./sx|scripts/\S+|cd|export|git|go|podman|docker|source|sha256sum|sed|cp|mkdir|rm|man|install|[A-Z_]+=\S+) ?`)
	// afterwards is the comment behind a command.
	afterwards = regexp.MustCompile(`\s+# ([^']|\w'\w)*$`)
	// codeSaid is how a page says that a command does not end with 0.
	codeSaid = regexp.MustCompile(`# .*exit code (\d+)`)
)

// follow PAGE runs all commands of a page in one shell, in order: each must end with the
// exit code and print the lines that the page says, "…" being anything.
func follow(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "follow PAGE")
	data, err := os.ReadFile(filepath.Join("../../docs", args[0]))
	ts.Check(err)
	all := commandsOf(string(data))
	var script bytes.Buffer
	script.WriteString("exec 2>&1\n")
	for i, c := range all {
		fmt.Fprintf(&script, "echo; echo '@@ %d'\n%s\n", i, c.text)
		fmt.Fprintf(&script, "code=$?; [ $code = %s ] || { echo \"docs/%s:%d: exit code $code, want %s\"; exit 1; }\n", c.code, args[0], c.line, c.code)
	}
	file := ts.MkAbs(".followed")
	ts.Check(os.WriteFile(file, script.Bytes(), 0o644))
	if err := ts.Exec("bash", file); err != nil {
		ts.Fatalf("docs/%s: %v", args[0], err)
	}
	for i, printed := range strings.Split(ts.ReadFile("stdout"), "\n@@ ")[1:] {
		if want := missingIn(printed, all[i].output); want != "" {
			ts.Fatalf("docs/%s:%d: %s\ndid not print %q", args[0], all[i].line, all[i].text, want)
		}
	}
}

// missingIn returns the first of the wanted lines that printed does not have, in order.
func missingIn(printed string, want []string) string {
	lines := strings.Split(printed, "\n")
	for _, w := range want {
		if strings.TrimSpace(w) == "…" {
			continue
		}
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(w, " ")), "…", ".*") + `\s*$`)
		at := slices.IndexFunc(lines, pattern.MatchString)
		if at < 0 {
			return w
		}
		lines = lines[at+1:]
	}
	return ""
}

// stagex DIR makes a repository with a tree that has the names of StageX's outputs which
// the pages speak of, on the example tree: a commit tagged 2026.03.0, in which all is
// published. git clones it where a page says https://codeberg.org/stagex/stagex.
func standIn(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "stagex DIR")
	dir := ts.MkAbs(args[0])
	examples(ts, false, args)
	archive, err := txtar.ParseFile("testdata/stagex.txtar")
	ts.Check(err)
	for _, f := range archive.Files {
		file := filepath.Join(dir, f.Name)
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
		if strings.HasPrefix(f.Name, "digests/") {
			old, err := os.ReadFile(file)
			ts.Check(err)
			lines := slices.Collect(strings.Lines(string(old) + string(f.Data)))
			slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
			f.Data = []byte(strings.Join(lines, ""))
		}
		ts.Check(os.WriteFile(file, f.Data, 0o644))
	}
	for _, git := range []string{"init -q -b main", "add -A", "commit -q -m 2026.03.0", "tag 2026.03.0"} {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, strings.Fields(git)...)...))
	}
	config := filepath.Join(ts.Getenv("WORK"), "gitconfig")
	ts.Check(os.WriteFile(config, fmt.Appendf(nil, "[url %q]\n\tinsteadOf = https://codeberg.org/stagex/stagex\n[safe]\n\tdirectory = *\n", dir), 0o644))
	ts.Setenv("GIT_CONFIG_GLOBAL", config)
}
