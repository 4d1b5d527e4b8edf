package main

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// colored reports whether verdicts on stdout have colours: on a terminal, or if they are
// forced. NO_COLOR takes precedence.
//
// Source: no-color.org and bixense.com/clicolors.
var colored = sync.OnceValue(func() bool {
	return useColor(os.Getenv, func() bool { return term.IsTerminal(int(os.Stdout.Fd())) })
})

func useColor(getenv func(string) string, terminal func() bool) bool {
	if getenv("NO_COLOR") != "" {
		return false
	}
	if force := getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	return getenv("TERM") != "dumb" && terminal()
}

// wordColors are the colours of the verdicts: green, red, yellow, and faint for what is not
// there.
var wordColors = map[verdict.Word]string{
	verdict.Match: "\x1b[32m", verdict.Mismatch: "\x1b[1;31m", verdict.Changed: "\x1b[33m", verdict.Unproven: "\x1b[33m",
	verdict.Missing: "\x1b[2m", verdict.Unpublished: "\x1b[36m",
}

// paintWord colours the word that a verdict begins with. A MATCH with conditions is not
// green.
func paintWord(v verdict.Verdict) string {
	said := v.String()
	if !colored() {
		return said
	}
	color := wordColors[v.Word]
	if v.Word == verdict.Match && !v.Full() {
		color = wordColors[verdict.Unproven]
	}
	rest := strings.TrimPrefix(said, string(v.Word))
	return color + string(v.Word) + "\x1b[0m" + rest
}
