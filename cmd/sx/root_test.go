package main

import (
	"errors"
	"strings"
	"testing"
)

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
