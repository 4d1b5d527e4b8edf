package buildkit

import (
	"bytes"
	"path"
	"regexp"
	"strings"
	"sync"

	"codeberg.org/stagex/sx/graph"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func containerfileOf(files []graph.File) []byte {
	for _, f := range files {
		if f.Path == "Containerfile" {
			return f.Data
		}
	}
	return nil
}

// lineOf returns the first line of the Containerfile that names an image; 0 if none does,
// for example because the name is in a variable.
func lineOf(files []graph.File, image string) int {
	name := regexp.MustCompile(`(^|[^\w/.-])` + regexp.QuoteMeta(image) + `($|[^\w.-])`)
	at := name.FindIndex(containerfileOf(files))
	if at == nil {
		return 0
	}
	line := 1
	for _, c := range containerfileOf(files)[:at[1]-1] {
		if c == '\n' {
			line++
		}
	}
	return line
}

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

// addedFiles returns patterns of the files that the ADDs of a Containerfile may name. They
// may match too much, but not too little: a variable matches anything.
func addedFiles(containerfile []byte) (patterns []*regexp.Regexp) {
	res, err := parser.Parse(bytes.NewReader(containerfile))
	if err != nil {
		return nil // BuildKit will not parse it either
	}
	stages, _, err := instructions.Parse(res.AST, nil)
	if err != nil {
		return nil
	}
	for _, s := range stages {
		for _, c := range s.Commands {
			add, ok := c.(*instructions.AddCommand)
			if !ok || add.Unpack != nil && !*add.Unpack {
				continue
			}
			for _, source := range add.SourcePaths {
				patterns = append(patterns, addPattern(source))
			}
		}
	}
	return patterns
}

// wild matches the parts of an ADD's source that are not literal: variables, wildcards,
// sets and escapes.
var wild = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{[^}]*\}|\$\w+|\*|\?|\[[^\]]*\]|\\.`) })

func addPattern(source string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`^/*`)
	source = strings.TrimPrefix(path.Clean("/"+source), "/")
	at := 0
	for _, span := range wild().FindAllStringIndex(source, -1) {
		b.WriteString(regexp.QuoteMeta(source[at:span[0]]))
		switch source[span[0]] {
		case '$':
			b.WriteString(`.*`)
		case '*':
			b.WriteString(`[^/]*`)
		default:
			b.WriteString(`[^/]`)
		}
		at = span[1]
	}
	b.WriteString(regexp.QuoteMeta(source[at:]) + `$`)
	return regexp.MustCompile(b.String())
}
