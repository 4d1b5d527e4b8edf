package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// freeText are the flags whose values nothing can be offered for.
var freeText = []string{
	"against", "depth", "diff", "diffoscope", "disk-floor", "engine-size", "fingerprint", "from", "hub", "jobs", "key", "memory", "person", "push", "repo",
	"require", "runs", "serve", "shard", "tag", "tlsservername", "to", "update",
}

// A flag that takes a value has a completion (see complete.go), or is in the list above.
func TestFlagCompletions(t *testing.T) {
	everyCommand(t, func(t *testing.T, c *cobra.Command, _ string) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" || slices.Contains(freeText, f.Name) {
				return
			}
			if _, ok := c.GetFlagCompletionFunc(f.Name); !ok {
				t.Errorf("--%s: no completion, and not in freeText", f.Name)
			}
		})
	})
}

func TestUseColor(t *testing.T) {
	for _, c := range []struct {
		env      string
		terminal bool
		want     bool
	}{
		{"", true, true}, {"", false, false}, {"NO_COLOR=1", true, false}, {"CLICOLOR_FORCE=1", false, true},
		{"CLICOLOR_FORCE=0", false, false}, {"NO_COLOR=1 CLICOLOR_FORCE=1", true, false}, {"TERM=dumb", true, false},
	} {
		env := map[string]string{}
		for _, word := range strings.Fields(c.env) {
			name, value, _ := strings.Cut(word, "=")
			env[name] = value
		}
		if got := useColor(func(name string) string { return env[name] }, func() bool { return c.terminal }); got != c.want {
			t.Errorf("%q, terminal %t: %t", c.env, c.terminal, got)
		}
	}
}

// A completion never falls back to file names, whatever the command.
func TestNoFiles(t *testing.T) {
	root := newRootCommand(&app{stdout: io.Discard, stderr: io.Discard})
	if d := root.CompletionOptions.DefaultShellCompDirective; d == nil || *d != cobra.ShellCompDirectiveNoFileComp {
		t.Error("the root command offers files by default")
	}
}
