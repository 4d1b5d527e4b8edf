package relations

import (
	"bytes"
	"io/fs"
	"regexp"

	"codeberg.org/stagex/sx/graph"
)

// Line returns the first line, from 1, of the Containerfile of o that names the
// dependency dep as stagex/<dep>, 0 if none does or it cannot be read: a variable may
// stand for the name. The tree's limit for a Containerfile holds, because o was loaded.
func Line(tree fs.FS, o *graph.Output, dep graph.Ref) int {
	data := o.Definition.Containerfile
	if data == nil {
		var err error
		if data, err = fs.ReadFile(tree, o.Definition.Dir+"/Containerfile"); err != nil {
			return 0
		}
	}
	name := regexp.MustCompile(`\bstagex/` + regexp.QuoteMeta(dep.String()) + `([^a-z0-9._-]|$)`)
	for i, line := range bytes.Split(data, []byte("\n")) {
		comment := bytes.HasPrefix(bytes.TrimSpace(line), []byte("#"))
		if !comment && name.Match(line) {
			return i + 1
		}
	}
	return 0
}
