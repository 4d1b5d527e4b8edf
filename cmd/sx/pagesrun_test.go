package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// notRun are the commands of pages that no test can run, and why. It should be short.
var notRun = map[string]string{
	"sx build --all --engine ssh://builder":                                                           "another machine; enginetest builds on an sshd of its own",
	"sx build --all --engine tcp://builder:1234 --hub oci://registry.example:5000/hub --results none": "another machine and a registry; enginetest builds through one",
	"go install codeberg.org/stagex/sx/cmd/sx@latest":                                                 "it takes what was pushed, not this checkout",
}

// developers are the beginnings of commands for those who work on sx: CI runs the tests by
// scripts/test, and not what takes an hour, a checkout of StageX or a quiet machine.
var developers = regexp.MustCompile(`^([A-Z_]+=\S+ )*(go (test|run|build|list)|scripts/\w+|git archive|cd ~/stagex)( |$)`)

// pages are the files with commands that people type, below the root.
func pages(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{"README.md", "examples/README.md", "docs/*.md", "docs/howto/*.md"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all = append(all, strings.TrimPrefix(f, "../../"))
		}
	}
	return all
}

// Each command of README and docs/ is run by a test: its page is followed as a whole, or a
// script has the command itself, or, under a comment with a line of the page that stands
// for several commands, what stands there for it.
func TestPagesAreRun(t *testing.T) {
	ran := readScripts(t)
	found, excused := 0, map[string]bool{}
	for _, page := range pages(t) {
		data, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		if ran.lines["follow "+strings.TrimPrefix(page, "docs/")] {
			found += len(commandsOf(string(data)))
			continue
		}
		for _, c := range commandsOf(string(data)) {
			found++
			command := strings.Join(strings.Fields(c.text), " ")
			switch {
			case ran.lines[command] || developers.MatchString(command):
			case notRun[command] != "":
				excused[command] = true
			default:
				t.Errorf("%s:%d: no script of testdata/ runs %q", page, c.line, command)
			}
		}
		for i, line := range strings.Split(string(data), "\n") {
			if strings.HasPrefix(line, "    ") {
				continue
			}
			for _, command := range commandsIn(line) {
				if found++; !ran.has(command) {
					t.Errorf("%s:%d: no script of testdata/ runs sx %s", page, i+1, strings.Join(command, " "))
				}
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d commands were found", found)
	}
	if len(excused) != len(notRun) {
		t.Errorf("notRun has %d commands, and the pages have %d of them", len(notRun), len(excused))
	}
}

// scripts is what the scripts of testdata/ run.
type scripts struct {
	lines    map[string]bool // what a line says, without exec or "exits N"; comments without "#"
	commands [][]string      // the arguments of each sx
}

var scriptVerb = regexp.MustCompile(`^(!? ?exec|exits \d+|ttyin .*|#) `)

func readScripts(t *testing.T) scripts {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	s := scripts{lines: map[string]bool{}}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "-- ") {
				break
			}
			text := strings.Join(strings.Fields(line), " ")
			bare := strings.TrimSuffix(scriptVerb.ReplaceAllString(text, ""), " &")
			s.lines[bare] = true
			if args, ok := strings.CutPrefix(bare, "sx "); ok && !strings.HasPrefix(text, "#") {
				var words []string
				for _, w := range oneWord.FindAllString(args, -1) {
					words = append(words, strings.Trim(w, `'"`))
				}
				s.commands = append(s.commands, words)
			}
		}
	}
	return s
}

// has says whether a script runs a command that text mentions: the same command, with all
// flags that the text has.
func (s scripts) has(mention []string) bool {
	command, flags := split(mention)
	return slices.ContainsFunc(s.commands, func(words []string) bool {
		theirs, set := split(words)
		for _, flag := range flags {
			if !slices.Contains(set, flag) {
				return false
			}
		}
		return len(theirs) >= len(command) && slices.Equal(theirs[:len(command)], command)
	})
}

// split returns the names of the command that words begin with, and of the flags in them.
func split(words []string) (command, flags []string) {
	c := allCommands
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			name, _, _ := strings.Cut(word, "=")
			flags = append(flags, name)
		} else if i := slices.IndexFunc(c.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word }); i >= 0 && len(flags) == 0 {
			command, c = append(command, word), c.Commands()[i]
		}
	}
	return command, flags
}

var allCommands = newRootCommand(&app{})
