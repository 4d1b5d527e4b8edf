package lint

import (
	"net/url"
	"path"
	"strings"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/tomlscan"
)

// manifest is package.toml with the lines of its keys.
type manifest struct {
	*graph.Definition
	file *tomlscan.File
	path string
}

func readManifest(d *graph.Definition) (manifest, error) {
	f, err := tomlscan.Parse(d.PackageTOML)
	return manifest{d, f, d.Dir + "/package.toml"}, err
}

func (m manifest) check() (findings []Finding) {
	findings = m.fields()
	for _, key := range m.UnknownKeys {
		findings = append(findings, found(unknownKey, m.path, m.file.Line(strings.Split(key, ".")...), "the key %s is not one of package.toml(5)", key))
	}
	for _, s := range m.Sources {
		findings = append(findings, m.mirrors(s)...)
	}
	return findings
}

// fields finds the fields of [package] that are missing, empty or a placeholder.
func (m manifest) fields() (findings []Finding) {
	for _, f := range []struct{ name, value string }{
		{"description", m.Description}, {"license", m.License}, {"website", m.Website},
	} {
		value := strings.TrimSpace(f.value)
		line := m.file.Line("package", f.name)
		switch {
		case line == 0:
			findings = append(findings, found(missingField, m.path, m.file.Line("package"), "package.%s is missing", f.name))
		case value == "":
			findings = append(findings, found(missingField, m.path, line, "package.%s is empty", f.name))
		case strings.EqualFold(value, "TODO"):
			findings = append(findings, found(missingField, m.path, line, "package.%s is %q", f.name, value))
		}
	}
	if strings.EqualFold(m.Version, "TODO") && m.VersionFrom == (graph.Ref{}) {
		findings = append(findings, found(missingField, m.path, m.file.Line("package", "version"), "package.version is %q", m.Version))
	}
	for _, s := range m.Sources {
		findings = append(findings, m.sourceFields(s)...)
	}
	return findings
}

// sourceFields finds the placeholders that sx new writes.
func (m manifest) sourceFields(s graph.Source) (findings []Finding) {
	if s.Hash == (graph.Hash{}) {
		findings = append(findings, found(missingField, m.path, m.file.Line("sources", s.Key, "hash"), "sources.%s.hash is only zeros: sx hash --write writes the hash", s.Key))
	}
	for _, mirror := range s.Mirrors {
		if _, rest, _ := strings.Cut(mirror, "://"); strings.HasPrefix(rest, "TODO/") {
			findings = append(findings, found(missingField, m.path, m.file.Line("sources", s.Key, "mirrors"), "sources.%s has the mirror %s", s.Key, mirror))
		}
	}
	return findings
}

func (m manifest) mirrors(s graph.Source) (findings []Finding) {
	line := m.file.Line("sources", s.Key, "mirrors")
	add := func(rule, format string, args ...any) {
		findings = append(findings, found(rule, m.path, line, format, args...))
	}
	for _, mirror := range s.Mirrors {
		if strings.HasPrefix(mirror, "http://") || strings.HasPrefix(mirror, "ftp://") {
			add(plainHTTP, "sources.%s: the mirror %s is not encrypted", s.Key, mirror)
		}
	}
	if len(s.Mirrors) == 1 {
		add(singleMirror, "sources.%s has one mirror", s.Key)
	}
	if m.file.Line("sources", s.Key, "file") > 0 {
		return findings // the name is given
	}
	for _, mirror := range s.Mirrors[min(1, len(s.Mirrors)):] {
		if name := lastSegment(mirror); name != s.File {
			add(mirrorFile, "sources.%s: the mirror %s has the file as %q, and it is kept as %q, after the first mirror: set file", s.Key, mirror, name, s.File)
		}
	}
	return findings
}

// lastSegment is how upstream names the file of a mirror.
func lastSegment(mirror string) string {
	u, err := url.Parse(mirror)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}
