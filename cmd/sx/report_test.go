package main

import "testing"

// What was typed can be typed again, but for passwords in URLs.
func TestTyped(t *testing.T) {
	for want, args := range map[string][]string{
		"sx":                                     nil,
		"sx build --all -j 4":                    {"build", "--all", "-j", "4"},
		"sx build 'core-*' 'a b' ''":             {"build", "core-*", "a b", ""},
		`sx build 'it'\''s'`:                     {"build", "it's"},
		"sx build --engine=tcp://xxxxx@host:1 x": {"build", "--engine=tcp://me:secret@host:1", "x"},
		"sx build --engine ssh://xxxxx@host":     {"build", "--engine", "ssh://me:secret@host"},
		"sx verify --against 'https://xxxxx@host/x?xxxxx' --ci": {"verify", "--against", "https://me:secret@host/x?a=b=c", "--ci"},
	} {
		if got := typed(args); got != want {
			t.Errorf("%q is %s, want %s", args, got, want)
		}
	}
}
