// Sx builds StageX packages from source and proves their digests.
package main

import (
	"os"
	"path/filepath"

	"codeberg.org/stagex/sx/buildkit/embedded"
)

func main() { os.Exit(Main()) }

// Main runs sx by the name and arguments of the process: the engine child and the
// engine's xz are this same program, so that there is one file to install.
func Main() int {
	switch {
	case filepath.Base(os.Args[0]) == embedded.XZName:
		return embedded.XZMain(os.Stdin, os.Stdout, os.Stderr)
	case len(os.Args) == 3 && os.Args[1] == embedded.ChildArg:
		return embedded.ServeChild(os.Args[2])
	}
	return run(os.Args[1:])
}
