package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/selector"
	"codeberg.org/stagex/sx/graph"
)

// completeOutputs completes selectors, never file names. one says that the command takes a
// single output.
func (a *app) completeOutputs(one bool) cobra.CompletionFunc {
	if one {
		return a.completeUpTo(1)
	}
	return a.completeFrom(1<<30, selector.Selectors)
}

// completeUpTo completes outputs of a command that takes at most most outputs, one each.
func (a *app) completeUpTo(most int) cobra.CompletionFunc {
	return a.completeFrom(most, selector.Outputs)
}

// completeFrom offers what names lists for the word that was begun, if it is not among args.
func (a *app) completeFrom(most int, names func(g *graph.Graph, begun string) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		g, err := a.readGraph(c.Context())
		if err != nil { // the command itself will report it
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		like := slices.DeleteFunc(names(g, begun), func(name string) bool { return slices.Contains(args, name) })
		return like, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeLogs completes the outputs that have logs, whether or not the tree has them now.
func (a *app) completeLogs(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	state, err := stateDir(a)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	entries, _ := os.ReadDir(filepath.Join(state, "logs"))
	var like []string
	for _, e := range entries {
		if _, err := graph.ParseRef(e.Name()); err == nil && e.IsDir() && strings.HasPrefix(e.Name(), begun) {
			like = append(like, e.Name())
		}
	}
	return like, cobra.ShellCompDirectiveNoFileComp
}

// Flags whose values are completed alike in every command. Flags that are in none of these,
// and have no completion of their own, take free text: nothing is offered.
var (
	fileFlags   = []string{"baseline", "write-baseline", "tlscacert", "tlscert", "tlskey", "junit", "merge", "shard-times", "trace", "output"}
	folderFlags = []string{"directory", "tlsdir", "signatures-from", "into", "write-policy", "releases"}
	wordFlags   = map[string][]string{
		"platform": {"linux/amd64", "linux/arm64", "linux/386"},
		"accept":   {"given", "on"},
		"results":  {"targets", "all", "none"},
	}
)

// addCompletions completes the values of the flags of c and its subcommands.
func (a *app) addCompletions(c *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if _, exists := c.GetFlagCompletionFunc(f.Name); exists {
				return
			}
			if complete := a.flagCompletion(f); complete != nil {
				c.RegisterFlagCompletionFunc(f.Name, complete)
			}
		})
	}
	for _, sub := range c.Commands() {
		a.addCompletions(sub)
	}
}

// flagCompletion returns how the value of a flag is completed, nil if it is free text.
func (a *app) flagCompletion(f *pflag.Flag) cobra.CompletionFunc {
	_, isTool := f.Value.(*toolFlag)
	switch {
	case f.Value.Type() == "bool" || isTool:
		return nil
	case slices.Contains(fileFlags, f.Name):
		return completeFiles(cobra.ShellCompDirectiveDefault)
	case slices.Contains(folderFlags, f.Name):
		return completeFiles(cobra.ShellCompDirectiveFilterDirs)
	case f.Name == "on-each":
		return a.completeEachEngine
	case f.Name == "engine":
		return a.completeEngines
	case wordFlags[f.Name] != nil:
		return cobra.FixedCompletions(wordFlags[f.Name], cobra.ShellCompDirectiveNoFileComp)
	}
	return nil
}

func completeFiles(how cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return nil, how }
}

// engineAddresses are the words and the beginnings of addresses that --engine takes.
var engineAddresses = []string{
	"embedded", "docker", "podman", "unix://", "tcp://", "ssh://", "docker-container://", "podman-container://", "kube-pod://", "kubernetes://",
}

// completeEngines offers these, and the engine of the user's settings. There is no space
// after what may be the beginning of an address.
func (a *app) completeEngines(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	words := slices.Clone(engineAddresses)
	if set, err := userSettings(a); err == nil && set.Engine.Address != "" && !slices.Contains(words, set.Engine.Address) {
		words = append(words, set.Engine.Address)
	}
	like := slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, begun) })
	if len(like) == 1 && !strings.HasSuffix(like[0], "://") {
		return like, cobra.ShellCompDirectiveNoFileComp
	}
	return like, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeEachEngine completes the last of the engines that commas separate.
func (a *app) completeEachEngine(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	before := begun[:strings.LastIndexByte(begun, ',')+1]
	all, how := a.completeEngines(c, args, strings.TrimPrefix(begun, before))
	for i := range all {
		all[i] = before + all[i]
	}
	return all, how | cobra.ShellCompDirectiveNoSpace
}

// completeImages offers outputs, and files for what begins like a path.
func (a *app) completeImages(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) < 2 && (strings.HasPrefix(begun, "/") || strings.HasPrefix(begun, ".")) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeUpTo(2)(c, args, begun)
}

// completeThenFolder completes an output, then a folder.
func (a *app) completeThenFolder(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return a.completeUpTo(1)(c, args, begun)
}
