package buildkit

import (
	"bytes"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// UsesNetwork reports whether any RUN of a Containerfile may use the network:
// one without --network=none. A file that does not parse may do anything.
func UsesNetwork(containerfile []byte) bool {
	res, err := parser.Parse(bytes.NewReader(containerfile))
	if err != nil {
		return true
	}
	stages, _, err := instructions.Parse(res.AST, nil)
	if err != nil {
		return true
	}
	for _, s := range stages {
		for _, c := range s.Commands {
			if run, ok := c.(*instructions.RunCommand); ok && instructions.GetNetwork(run) != instructions.NetworkNone {
				return true
			}
		}
	}
	return false
}
