package graph

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	// A key becomes the beginning of a build argument's name.
	keyPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)
	shaPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
	// What a format holds is part of a file's name.
	formatPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
)

// sourceReader expands and checks one [sources.<key>], collecting problems.
type sourceReader struct {
	manifest *manifest
	key      string
	problems []problem
}

// fail reports what is wrong with a key of the source, on its line if it is
// there, else on that of the table.
func (r *sourceReader) fail(key, format string, args ...any) {
	line := r.manifest.line("sources", r.key, key)
	if line == 0 {
		line = r.manifest.line("sources", r.key)
	}
	r.problems = append(r.problems, problemf(line, "source %q: %w", r.key, fmt.Errorf(format, args...)))
}

// readSource resolves one source of d, whose version is already resolved.
func readSource(m *manifest, d *Definition, key string) (Source, []problem) {
	raw := m.Sources[key]
	r := &sourceReader{manifest: m, key: key}
	if !keyPattern.MatchString(key) {
		r.fail("", "the key must be letters, digits, _ and -, because it names build arguments")
	}
	s := Source{
		Key:     key,
		Version: r.optional("version", raw.Version, checkVersion),
		GitSHA:  r.optional("git_sha", raw.GitSHA, matching(shaPattern, "want a commit in lower-case hexadecimal digits")),
		Format:  r.optional("format", raw.Format, matching(formatPattern, "want the ending of an archive's name, such as tar.gz")),
	}
	if raw.Version != nil && s.Version == "" {
		s.Version = refusedVersion
	}
	s.Hash = r.hash(raw.Hash)
	r.files(&s, raw, d)
	return s, r.problems
}

// optional is "" for a key that is not there, and refuses one that is empty.
func (r *sourceReader) optional(key string, value *string, check func(string) error) string {
	switch {
	case value == nil:
		return ""
	case *value == "":
		r.fail(key, "%s is empty", key)
		return ""
	}
	if err := check(*value); err != nil {
		r.fail(key, "%w", err)
		return ""
	}
	return *value
}

func matching(pattern *regexp.Regexp, want string) func(string) error {
	return func(s string) error {
		if !pattern.MatchString(s) {
			return fmt.Errorf("reading %q: %s", s, want)
		}
		return nil
	}
}

func (r *sourceReader) hash(text *string) Hash {
	if text == nil {
		r.fail("hash", "hash is missing")
		return Hash{}
	}
	h, err := ParseHash(*text)
	if err != nil {
		r.fail("hash", "%w", err)
	}
	return h
}

// files expands the file's name and the mirrors.
func (r *sourceReader) files(s *Source, raw manifestSource, d *Definition) {
	if len(raw.Mirrors) == 0 {
		r.fail("mirrors", "want at least one mirror")
		return
	}
	template, key := lastSegment(raw.Mirrors[0]), "mirrors"
	if raw.File != nil {
		template, key = *raw.File, "file"
	}
	values := placeholders(*s, d)
	file, err := expand(template, values)
	if err == nil {
		err = checkFile(file)
	}
	if err != nil {
		r.fail(key, "%w", err)
		return
	}
	s.File = file
	s.Path = d.Fetch() + "/" + file
	r.argFile(s, template, key, d)
	values["file"] = file
	for _, mirror := range raw.Mirrors {
		expanded, err := expandMirror(mirror, values)
		if err != nil {
			r.fail("mirrors", "%w", err)
		}
		s.Mirrors = append(s.Mirrors, expanded)
	}
}

// argFile expands the file's name as upstream does for <KEY>_SOURCE, which
// knows four placeholders only and fails on others.
//
// Source: upstream's src/targets.py, get_build_args.
func (r *sourceReader) argFile(s *Source, template, key string, d *Definition) {
	if s.Version == "" {
		return
	}
	var err error
	s.ArgFile, err = expand(template, map[string]string{
		"version":       s.Version,
		"format":        s.Format,
		"version_dash":  version(d.Version).dash(),
		"version_under": version(d.Version).under(),
	})
	if err != nil {
		r.fail(key, "%s_SOURCE cannot be told: of a source with its own version, the file may use {version}, {version_dash}, {version_under} and {format} only: %w", strings.ToUpper(r.key), err)
	}
}

// placeholders are what a source's file may use: its own version's, else those
// of the definition.
func placeholders(s Source, d *Definition) map[string]string {
	v := s.Version
	if v == "" {
		v = d.Version
	}
	values := map[string]string{}
	if v != "" {
		values = version(v).placeholders()
	}
	values["format"] = s.Format
	return values
}
