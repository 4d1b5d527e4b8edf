package unused

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Line is an instruction that copies from another output. It is printed as JSON, and only
// gains fields.
type Line struct {
	Line int    `json:"line"` // of the file, from 1
	Text string `json:"text"` // the instruction
	From string `json:"from"` // "core-zlib"
	last int    // line of the file
}

// Lines returns the instructions of a Containerfile that was loaded, in its order.
func Lines(containerfile []byte) (lines []Line, err error) {
	defer func() {
		if r := recover(); r != nil { // BuildKit's parser, whose input is not trusted
			err = fmt.Errorf("BuildKit's parser cannot read it: %v", r)
		}
	}()
	ast, err := parser.Parse(bytes.NewReader(containerfile))
	if err != nil {
		return nil, err
	}
	for _, node := range ast.AST.Children {
		if !strings.EqualFold(node.Value, command.Copy) || len(node.Heredocs) > 0 {
			continue
		}
		for _, flag := range node.Flags {
			from, ok := strings.CutPrefix(flag, "--from=stagex/")
			if ok {
				lines = append(lines, Line{node.StartLine, strings.Join(strings.Fields(node.Original), " "), from, node.EndLine})
			}
		}
	}
	return lines, nil
}

// Without returns the Containerfile with some of its lines as comments, so that all others
// keep their numbers.
func Without(containerfile []byte, lines []Line) []byte {
	gone := map[int]bool{}
	for _, l := range lines {
		for n := l.Line; n <= l.last; n++ {
			gone[n] = true
		}
	}
	var out []byte
	n := 0
	for line := range bytes.Lines(containerfile) {
		if n++; gone[n] {
			out = append(out, '#')
			if bytes.HasSuffix(line, []byte("\n")) {
				out = append(out, '\n')
			}
			continue
		}
		out = append(out, line...)
	}
	return out
}
