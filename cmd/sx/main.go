// Sx builds StageX packages from source and proves their digests.
package main

import (
	"os"

	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/cmd/internal/startup"
)

func main() { os.Exit(Main()) }

// Main runs sx by the name and arguments of the process: the engine child and the
// programs that the engine starts are this same one, so that there is one file to install.
func Main() int {
	startup.Done()
	if code, ok := embedded.Program(os.Args, os.Stdin, os.Stdout, os.Stderr); ok {
		return code
	}
	if len(os.Args) == 3 && os.Args[1] == embedded.ChildArg {
		return embedded.ServeChild(os.Args[2])
	}
	return run(os.Args[1:])
}
