package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Each command in README, docs/ and stagex.toml is one that sx has, and so are its flags.
func TestDocumentedCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md", "../../stagex.toml", "../../examples/README.md")
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
	oneWord    = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// commandsIn returns the arguments of each sx in a line of Markdown: of a block of code,
// or in backquotes.
func commandsIn(line string) [][]string {
	var code []string
	if block, ok := strings.CutPrefix(line, "    "); ok {
		code = append(code, block)
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
