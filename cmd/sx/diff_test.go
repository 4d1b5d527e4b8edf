package main

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["damage"] = damageLayer }

// damage LAYOUT changes a bit of the largest blob of a layout.
func damageLayer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "damage LAYOUT")
	files, err := filepath.Glob(ts.MkAbs(filepath.Join(args[0], "blobs", "sha256", "*")))
	ts.Check(err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		ts.Check(err)
		if data[0] != '{' { // no document
			flip(ts, false, []string{file})
		}
	}
}
