package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Each command in README, docs/ and stagex.toml is one that sx has, and so are its flags.
func TestDocumentedCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/ci/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../stagex.toml")
	for _, page := range pages(t) {
		files = append(files, "../../"+page)
	}
	found := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			for _, command := range commandsIn(line) {
				found++
				if err := parses(command); err != nil {
					t.Errorf("%s:%d: sx %s: %v", strings.TrimPrefix(file, "../../"), i+1, strings.Join(command, " "), err)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d commands were found", found)
	}
}

// The workflow for GitLab is YAML with the keys of a job. scripts/test has a linter for the others.
func TestGitLabWorkflow(t *testing.T) {
	data, err := os.ReadFile("../../docs/ci/gitlab.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Stages []string `yaml:"stages"`
		Build  struct {
			Stage     string            `yaml:"stage"`
			Image     string            `yaml:"image"`
			Timeout   string            `yaml:"timeout"`
			Variables map[string]string `yaml:"variables"`
			Cache     struct {
				Key   string   `yaml:"key"`
				Paths []string `yaml:"paths"`
			} `yaml:"cache"`
			Before    []string `yaml:"before_script"`
			Script    []string `yaml:"script"`
			Artifacts struct {
				When    string            `yaml:"when"`
				Paths   []string          `yaml:"paths"`
				Reports map[string]string `yaml:"reports"`
			} `yaml:"artifacts"`
		} `yaml:"build"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(file.Stages, file.Build.Stage) || len(file.Build.Script) == 0 || file.Build.Artifacts.Reports["junit"] == "" {
		t.Errorf("%+v", file)
	}
}

// The script make_table runs each command of docs/make.md.
func TestMakeTable(t *testing.T) {
	table, err := os.ReadFile("../../docs/make.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/engine/make_table.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.SplitSeq(string(table), "\n") {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) != 3 {
			continue
		}
		for _, m := range inlineCode.FindAllStringSubmatch(cells[1], -1) {
			if rows++; !strings.Contains(string(script), "\nexec "+m[1]+"\n") {
				t.Errorf("testdata/engine/make_table.txt does not run %q", m[1])
			}
		}
	}
	if rows < 30 {
		t.Errorf("docs/make.md has %d commands", rows)
	}
}

var (
	inlineCode = regexp.MustCompile("`([^`]+)`")
	// oneCommand is sx with its arguments, up to what ends a command in a shell or begins a comment.
	oneCommand = regexp.MustCompile(`(?:^|[;&|(]|\$)\s*(?:\./)?sx((?: (?:'[^']*'|"[^"]*"|[^\s;&|()#'"]+))+)`)
	// workflowCommand is what stands before a command in a workflow of a CI system.
	workflowCommand = regexp.MustCompile(`^ *(- )?(run: )?`)
	oneWord         = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// commandsIn returns the arguments of each sx in a line of Markdown: of a block of code,
// or in backquotes.
func commandsIn(line string) [][]string {
	var code []string
	if block, ok := strings.CutPrefix(line, "    "); ok {
		code = append(code, workflowCommand.ReplaceAllString(strings.ReplaceAll(block, "sudo --preserve-env $(which sx)", "sx"), ""))
	} else {
		for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
			code = append(code, m[1])
		}
	}
	var all [][]string
	for _, text := range code {
		for _, m := range oneCommand.FindAllStringSubmatch(text, -1) {
			var args []string
			for _, word := range oneWord.FindAllString(m[1], -1) {
				args = append(args, strings.Trim(word, `'"`))
			}
			all = append(all, args)
		}
	}
	return all
}

// parses reads a command line as sx would, without running it. Brackets around what is
// optional do not matter, nor do the values of flags.
func parses(args []string) error {
	root := newRootCommand(&app{stdout: io.Discard, stderr: io.Discard})
	for i := range args {
		args[i] = strings.Trim(args[i], "[]")
	}
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(joinTools(args))
	if err != nil {
		return err
	}
	if c.HasAvailableSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return noArgs(c, rest)
	}
	c.InitDefaultHelpFlag()
	c.Flags().AddFlagSet(c.InheritedFlags())
	err = c.Flags().ParseAll(rest, func(*pflag.Flag, string) error { return nil })
	if errors.As(err, new(*pflag.ValueRequiredError)) { // the text is about the flag, whatever its value
		return nil
	}
	return err
}
