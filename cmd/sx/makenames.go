package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// A makeVariable is a variable of upstream's Makefile, which people append to a command
// out of habit: make rust PLATFORM=linux/arm64.
type makeVariable struct {
	flags   []string // of these, the one that the command has takes its place
	isBool  bool     // 0 and nothing mean no, as in make
	instead string   // what to do where the command has no such flag
}

// makeVariables are those of upstream's Makefile and src/global.mk.
var makeVariables = map[string]makeVariable{
	"PLATFORM":          {flags: []string{"platform"}, instead: "sx build and sx preseed have --platform"},
	"PROGRESS":          {flags: []string{"progress"}, instead: "sx build, sx fetch and sx preseed have --progress"},
	"NOCACHE":           {flags: []string{"no-cache"}, isBool: true, instead: "sx build has --no-cache"},
	"IMPORT":            {flags: []string{"import"}, isBool: true, instead: "sx build has --import, and sx import imports what is built"},
	"REGISTRY_USERNAME": {flags: []string{"push", "to"}, instead: "sx build --push and sx push --to take a registry and a namespace"},
	"REGISTRY":          {flags: []string{"push", "to"}, instead: "sx build --push and sx push --to take a registry and a namespace"},
	"BUILDER":           {instead: "sx has an engine inside; --engine names another one, see docs/engines.md"},
	"CHECK":             {instead: "sx lint checks definitions, and sx build reports broken ones before it builds anything"},
	"RELEASE":           {instead: "sx release publish 2026.03.0 takes the release as an argument"},
	"STAGES":            {instead: "stages are selectors: sx build core pallet"},
	"SIGNATURES":        {instead: "--signatures-from says where signatures are"},
	"EXTRA_ARGS":        {instead: "what decides an image's bytes cannot be added to"},
}

var makeAssignment = regexp.MustCompile(`^([A-Z_]+)=(.*)$`)

// replaceMakeVariables puts flags in the place of make's variables among args, and says so
// on w. It leaves all other arguments alone. Variables of the environment have no effect.
func replaceMakeVariables(root *cobra.Command, args []string, w io.Writer) ([]string, error) {
	var out []string
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...), nil
		}
		m := makeAssignment.FindStringSubmatch(arg)
		variable, known := makeVariable{}, false
		if m != nil {
			variable, known = makeVariables[m[1]]
		}
		if !known {
			out = append(out, arg)
			continue
		}
		c, _, err := root.Find(out)
		if err != nil || c == root {
			return args, nil // there is no such command, which the error says
		}
		flag, err := variable.flag(c, m[1], m[2])
		if err != nil {
			return nil, err
		}
		if flag != "" {
			fmt.Fprintf(w, "sx: %s means %s\n", text.Field(arg), text.Field(flag))
			out = append(out, flag)
		}
	}
	return out, nil
}

// flag returns the flag of c that an assignment stands for, "" for none.
func (v makeVariable) flag(c *cobra.Command, name, value string) (string, error) {
	if v.isBool && (value == "0" || value == "") {
		return "", nil
	}
	for _, flag := range v.flags {
		if c.Flags().Lookup(flag) == nil {
			continue
		}
		if v.isBool {
			return "--" + flag, nil
		}
		return "--" + flag + "=" + value, nil
	}
	if strings.TrimSpace(value) == "0" {
		return "", nil // CHECK=0, RELEASE=0: the defaults
	}
	return "", usagef("%s=%s is a variable of make: %s", name, value, v.instead)
}
