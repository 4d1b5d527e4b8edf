package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls do for each command that has a help.
func everyCommand(t *testing.T, do func(t *testing.T, c *cobra.Command, help string)) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() && c.HasParent() {
			return
		}
		c.InitDefaultHelpFlag()
		var help bytes.Buffer
		writeHelp(&help, c)
		t.Run(c.CommandPath(), func(t *testing.T) { do(t, c, help.String()) })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand(&app{stdout: io.Discard, stderr: io.Discard}))
}

// What help must have: lines that fit, a summary, an example that calls the command,
// the exit codes, a metavar for each flag that takes a value, and each flag once.
func TestHelp(t *testing.T) {
	everyCommand(t, func(t *testing.T, c *cobra.Command, help string) {
		for line := range strings.SplitSeq(help, "\n") {
			if n := utf8.RuneCountInString(line); n > helpWidth {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("the summary is %q", c.Short)
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Error("no example calls the command")
		}
		for _, part := range []string{"\nUsage:\n", "\nExamples:\n", "\nExit codes:\n  0 "} {
			if !strings.Contains(help, part) {
				t.Errorf("help has no %q", part)
			}
		}
		check := func(f *pflag.Flag) {
			name, usage := pflag.UnquoteUsage(f)
			if f.Value.Type() != "bool" && name != strings.ToUpper(name) {
				t.Errorf("--%s: the metavar is %q", f.Name, name)
			}
			if usage == "" || strings.HasSuffix(usage, ".") {
				t.Errorf("--%s: the usage is %q", f.Name, usage)
			}
			if n := strings.Count(help, "--"+f.Name+" "); n < 1 {
				t.Errorf("--%s is not in the help", f.Name)
			}
			if n := strings.Count(help, "\n      --"+f.Name+" ") + strings.Count(help, ", --"+f.Name+" "); n > 1 {
				t.Errorf("--%s is listed %d times", f.Name, n)
			}
		}
		c.Flags().VisitAll(check)
		c.InheritedFlags().VisitAll(check)
	})
}

// Flags of one name mean the same in every command: those below are in all that the
// grammar gives them to, with one shorthand.
func TestGrammar(t *testing.T) {
	has := map[string]string{
		"all":      "build fetch preseed digests verify explain list lint graph sbom import push sign du gc reproduce receipt-export",
		"dry-run":  "build fetch preseed digests import push sign release-publish pins gc reproduce new update",
		"json":     "build fetch preseed history import push digests verify explain log list deps rdeps why ls owns graph diff pins du gc keys-list version engine-status doctor impact reproduce receipt-show receipt-verify hash update",
		"progress": "build fetch preseed reproduce hash update",
		"quiet":    "build fetch preseed reproduce hash update",
	}
	short := map[string]string{"dry-run": "n", "quiet": "q"}
	seen := map[string]int{}
	everyCommand(t, func(t *testing.T, c *cobra.Command, _ string) {
		for flag, commands := range has {
			f := c.Flags().Lookup(flag)
			wanted := strings.Contains(" "+commands+" ", " "+strings.ReplaceAll(strings.TrimPrefix(c.CommandPath(), "sx "), " ", "-")+" ")
			if (f != nil) != wanted {
				t.Errorf("--%s: has it: %t, want %t", flag, f != nil, wanted)
			}
			if f != nil {
				seen[flag]++
				if f.Shorthand != short[flag] {
					t.Errorf("--%s: shorthand %q", flag, f.Shorthand)
				}
			}
		}
	})
	for flag, commands := range has {
		if n := len(strings.Fields(commands)); seen[flag] != n {
			t.Errorf("--%s: in %d commands, want %d", flag, seen[flag], n)
		}
	}
}

// README and docs/ keep to one width, but for links, tables and the examples.
func TestReadmeWidth(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(data), "\n") {
		if n := utf8.RuneCountInString(line); n > helpWidth && !strings.HasPrefix(line, "|") {
			t.Errorf("README.md:%d: %d columns", i+1, n)
		}
	}
}
