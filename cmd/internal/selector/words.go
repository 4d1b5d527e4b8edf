package selector

import (
	"maps"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// Command returns the command of sx that does what a word means to docker, nix, make or
// another build tool, as it is typed, or two with ", or " between them; "" if none is
// known. StageX's make targets with the name of an output in them, and the name of an
// output itself, are known too.
func Command(word string) string {
	if command, known := commands[strings.ToLower(word)]; known {
		return command
	}
	for prefix, command := range targets {
		if output, ok := strings.CutPrefix(word, prefix); ok && isOutput(output) {
			return command + output
		}
	}
	if isOutput(word) {
		return "sx build " + word
	}
	return ""
}

// Commands returns all commands that Command may return, those before the name of an output
// too.
func Commands() []string {
	return slices.Concat(slices.Collect(maps.Values(commands)), slices.Collect(maps.Values(targets)), []string{"sx build "})
}

func isOutput(word string) bool {
	_, err := graph.ParseRef(word)
	return err == nil
}

// targets are the prefixes of make's targets.
//
// Source: upstream's Makefile.
var targets = map[string]string{
	"import-": "sx import ", "registry-": "sx push --to REGISTRY/stagex ", "publish-": "sx push --to REGISTRY/stagex ",
	"content-": "sx ls ", "digests-": "sx digests ",
}

// commands are the words of other tools.
var commands = map[string]string{
	// docker, podman, buildx
	"pull": "sx preseed", "load": "sx import", "save": "sx import", "images": "sx list", "image": "sx list", "inspect": "sx list",
	"history": "sx log OUTPUT --list", "logs": "sx log", "prune": "sx gc", "rm": "sx gc", "rmi": "sx gc", "df": "sx du",
	"bake": "sx build", "buildx": "sx build", "ps": "sx engine status", "publish": "sx push", "upload": "sx push",
	"extract": "sx unpack", "export": "sx unpack", "cp": "sx cat", "search": "sx owns",
	// nix, guix, bazel, apt, cargo
	"why-depends": "sx why", "collect-garbage": "sx gc", "substitute": "sx preseed", "copy": "sx push", "challenge": "sx verify",
	"query": "sx deps", "depends": "sx deps", "rdepends": "sx rdeps", "dependencies": "sx deps", "dependents": "sx rdeps",
	"tree": "sx deps OUTPUT --tree", "locate": "sx owns", "which": "sx owns", "info": "sx list", "show": "sx list", "download": "sx fetch", "rebuild": "sx build --rebuild",
	"init": "sx new", "create": "sx new", "add": "sx new", "bump": "sx update", "upgrade": "sx update", "prefetch": "sx hash", "checksum": "sx hash", "validate": "sx lint",
	// make
	"make": "sx build", "all": "sx build --all", "clean": "sx gc", "new-digests": "sx digests --diff", "registry": "sx push",
	"mirror": "sx fetch --push", "content": "sx ls", "check": "sx lint, or sx reproduce OUTPUT --runs 2",
}
