package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/manpage"
)

// helpWidth is the maximum width of help, in columns.
const helpWidth = 100

// Help lists flags in groups: a command's own, then those that many commands have.
const (
	groupAnnotation = "sx_group"
	groupEngine     = "Flags for the engine"
	groupAny        = "Flags of every command"
)

func group(f *pflag.FlagSet, name string, flags ...string) {
	for _, flag := range flags {
		f.SetAnnotation(flag, groupAnnotation, []string{name})
	}
}

// codesAnnotation is the annotation with a command's exit codes.
const codesAnnotation = "sx_codes"

// codes annotates a command with its exit codes besides 0, 2, 130 and 143.
func codes(all ...int) map[string]string {
	return map[string]string{codesAnnotation: strings.Trim(fmt.Sprint(all), "[]")}
}

// ownWords says what exit codes mean for a command, if that is not what exitWords say.
func ownWords(annotations map[string]string, words map[int]string) map[string]string {
	for code, w := range words {
		annotations[fmt.Sprintf("%s_%d", codesAnnotation, code)] = w
	}
	return annotations
}

// exitWords explain the exit codes.
var exitWords = []struct {
	code  int
	words string
}{
	{exitOK, "done"},
	{exitFailed, "a build failed, or sx itself"},
	{exitUsage, "wrong usage, settings, definitions or digests/"},
	{exitMismatch, "MISMATCH: an output is not what was published, or engines do not agree"},
	{exitUnsigned, "too few people signed"},
	{exitFetch, "a source or an image cannot be fetched, or a registry refuses one"},
	{exitMachine, "this machine, or the engine elsewhere, lacks something"},
	{exitDisk, "the disk is full, or has less free than build.disk_floor"},
	{exitUnproven, "not proven"},
}

func writeExitCodes(w io.Writer, c *cobra.Command) {
	fmt.Fprintln(w, "\nExit codes:")
	for _, i := range exitItems(c) {
		fmt.Fprintf(w, "  %-9s %s\n", i.Term, i.Text)
	}
	if !c.HasParent() {
		fmt.Fprintln(w, "If several apply, it is the first of 130 or 143, 7, 6, 3, 1, 2, 5, 4, 8.")
	}
}

// exitItems lists the exit codes of a command and what they mean for it.
func exitItems(c *cobra.Command) (items []manpage.Item) {
	has := " 0 2 "
	if own, ok := c.Annotations[codesAnnotation]; ok {
		has += own + " "
	} else if !c.HasParent() {
		has = " 0 1 2 3 4 5 6 7 8 "
	} else {
		has += "1 "
	}
	for _, e := range exitWords {
		if strings.Contains(has, fmt.Sprintf(" %d ", e.code)) {
			words := e.words
			if own, ok := c.Annotations[fmt.Sprintf("%s_%d", codesAnnotation, e.code)]; ok {
				words = own
			}
			items = append(items, manpage.Item{Term: fmt.Sprint(e.code), Text: words})
		}
	}
	return append(items, manpage.Item{Term: "130, 143", Text: "interrupted, terminated"})
}

// writeHelp writes the help of a command: summary, usage, description, examples, flags
// by group, exit codes.
func writeHelp(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "%s: %s\n\nUsage:\n", c.CommandPath(), lowerFirst(c.Short))
	fmt.Fprintf(w, "  %s\n", usageLine(c))
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", c.Long)
	}
	if c.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	writeCommands(w, c)
	writeFlags(w, c)
	writeExitCodes(w, c)
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nUse \"%s COMMAND --help\" for more about a command.\n", c.CommandPath())
	}
}

// writeCommands lists the commands below c: by name, under the heading of their
// group if they have one.
func writeCommands(w io.Writer, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	all := c.Commands()
	if len(c.Groups()) == 0 {
		fmt.Fprintln(w, "\nCommands:")
		listCommands(w, all, "")
	}
	for _, g := range c.Groups() {
		fmt.Fprintf(w, "\n%s:\n", g.Title)
		listCommands(w, all, g.ID)
	}
}

func listCommands(w io.Writer, all []*cobra.Command, group string) {
	for _, sub := range all {
		if sub.GroupID == group && sub.IsAvailableCommand() {
			fmt.Fprintf(w, "  %-*s %s\n", sub.Parent().NamePadding(), sub.Name(), sub.Short)
		}
	}
}

func usageLine(c *cobra.Command) string {
	if c.Runnable() && !c.HasAvailableSubCommands() {
		return c.UseLine()
	}
	return c.CommandPath() + " COMMAND [flags]"
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func writeFlags(w io.Writer, c *cobra.Command) {
	for _, g := range flagGroups(c) {
		fmt.Fprintf(w, "\n%s:\n%s", g.name, g.flags.FlagUsagesWrapped(helpWidth))
	}
}

type flagGroup struct {
	name  string
	flags *pflag.FlagSet
}

// flagGroups returns the flags of a command, without empty groups.
func flagGroups(c *cobra.Command) (groups []flagGroup) {
	names := []string{"Flags", groupEngine, groupAny}
	sets := map[string]*pflag.FlagSet{}
	for _, name := range names {
		sets[name] = pflag.NewFlagSet(name, pflag.ContinueOnError)
	}
	add := func(f *pflag.Flag) {
		name := names[0]
		if in := f.Annotations[groupAnnotation]; len(in) > 0 {
			name = in[0]
		} else if f.Name == "help" {
			name = groupAny
		}
		if sets[name].Lookup(f.Name) == nil {
			sets[name].AddFlag(f)
		}
	}
	c.LocalFlags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	for _, name := range names {
		if sets[name].HasAvailableFlags() {
			groups = append(groups, flagGroup{name, sets[name]})
		}
	}
	return groups
}
