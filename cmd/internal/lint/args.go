package lint

import (
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"codeberg.org/stagex/sx/graph"
)

// builtin are ARGs that have a value, or an effect, without anyone setting them.
//
// Source: BuildKit's dockerfile2llb, defaultArgs and proxy args, and its SOURCE_DATE_EPOCH.
var builtin = []string{
	"BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
	"TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE",
	"SOURCE_DATE_EPOCH", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY",
	"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy",
}

// args finds ARGs that nothing uses, and those that have no value. Files are the other files
// of the folder, in which a variable may be used.
func (c *containerfile) args(g *graph.Graph, files string) (findings []Finding) {
	values := map[string]string{}
	if len(c.Outputs) > 0 {
		values = g.Output(c.Outputs[0]).Request(nil).BuildArgs
	}
	global := map[string]bool{}
	for _, s := range c.global {
		if arg, ok := s.command.(*instructions.ArgCommand); ok {
			for _, a := range arg.Args {
				global[a.Key] = true
				findings = append(findings, c.emptyArg(s.line, a, values, nil)...)
				if !c.usedIn(c.everything(), a.Key, files) {
					findings = append(findings, found(unusedArg, c.path, s.line, "nothing uses ARG %s", a.Key))
				}
			}
		}
	}
	for i, st := range c.stages {
		for j, s := range st.statements {
			arg, ok := s.command.(*instructions.ArgCommand)
			if !ok {
				continue
			}
			scope := slices.Concat(st.statements[j+1:], c.descendants(i))
			for _, a := range arg.Args {
				findings = append(findings, c.emptyArg(s.line, a, values, global)...)
				if a.Value == nil && !slices.Contains(builtin, a.Key) && !c.usedIn(append(scope, siblings(s, a)...), a.Key, files) {
					findings = append(findings, found(unusedArg, c.path, s.line, "nothing in the stage uses ARG %s", a.Key))
				}
			}
		}
	}
	return findings
}

// emptyArg is about an ARG without a default. VERSION_MAJOR_MINOR is one if the version has
// no dot: upstream then passes the text None.
func (c *containerfile) emptyArg(line int, a instructions.KeyValuePairOptional, values map[string]string, global map[string]bool) []Finding {
	value, set := values[a.Key]
	switch {
	case set && value != "":
		return nil
	case set:
		return []Finding{found(emptyArg, c.path, line, "ARG %s is empty, because the version %q has no such part", a.Key, c.Version)}
	case a.Value != nil || global[a.Key] || slices.Contains(builtin, a.Key):
		return nil
	}
	return []Finding{found(emptyArg, c.path, line, "ARG %s has no value: package.toml sets none, and it has no default", a.Key)}
}

// siblings returns the other ARGs of a statement, which may use a.
func siblings(s statement, a instructions.KeyValuePairOptional) []statement {
	arg := s.command.(*instructions.ArgCommand)
	if len(arg.Args) < 2 {
		return nil
	}
	var text string
	for _, other := range arg.Args {
		if other.Key != a.Key && other.Value != nil {
			text += *other.Value + "\n"
		}
	}
	return []statement{{keyword: "siblings", text: text}}
}

// everything returns the statements of all stages, and those before them.
func (c *containerfile) everything() (all []statement) {
	all = slices.Clone(c.global)
	for _, st := range c.stages {
		all = append(all, st.statements...)
	}
	return all
}

// descendants returns the statements of the stages that begin with stage number i, in which
// its ARGs are set too.
func (c *containerfile) descendants(i int) (all []statement) {
	bases := []string{c.stages[i].name}
	for _, st := range c.stages[i+1:] {
		if st.base != "" && slices.Contains(bases, st.base) {
			bases = append(bases, st.name)
			all = append(all, st.statements...)
		}
	}
	return all
}

// usedIn reports whether a statement uses a variable. Declaring it again is no use.
func (c *containerfile) usedIn(scope []statement, name, files string) bool {
	for _, s := range scope {
		if arg, ok := s.command.(*instructions.ArgCommand); ok {
			for _, a := range arg.Args {
				if a.Value != nil && names(*a.Value, name) {
					return true
				}
			}
			continue
		}
		if names(s.text, name) {
			return true
		}
	}
	return names(files, name)
}
