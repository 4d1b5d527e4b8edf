package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/selector"
)

// Words of other tools are answered with commands that exist, and flags that they have.
func TestForeignWords(t *testing.T) {
	root := newRootCommand(&app{stdout: io.Discard, stderr: io.Discard})
	for answer := range strings.SplitSeq(strings.Join(selector.Commands(), ", or "), ", or ") {
		words := strings.Fields(answer)
		c, rest, err := root.Find(words[1:])
		if err != nil || c == root {
			t.Errorf("%q is no command: %v", answer, err)
			continue
		}
		for _, word := range rest {
			if flag, is := strings.CutPrefix(word, "--"); is && c.Flags().Lookup(flag) == nil {
				t.Errorf("%q: there is no --%s", answer, flag)
			}
		}
	}
}

// A full disk is several warnings, each a line that can be read.
func TestWarnOf(t *testing.T) {
	var said strings.Builder
	a := &app{stderr: &said}
	a.warnOf(errors.Join(errors.New("saving one: no space"), errors.New("saving \x1b[2J: no space")))
	want := "sx: warning: saving one: no space\nsx: warning: saving \\x1b[2J: no space\n"
	if said.String() != want {
		t.Errorf("%q, want %q", said.String(), want)
	}
}
