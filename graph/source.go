package graph

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

var (
	// A key becomes the beginning of a build argument's name.
	keyPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`) })
	shaPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{7,64}$`) })
	// What a format holds is part of a file's name.
	formatPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`) })
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
	if !keyPattern().MatchString(key) {
		r.fail("", "the key must be letters, digits, _ and -, because it names build arguments")
	}
	s := Source{
		Key:     key,
		Version: r.optional("version", raw.Version, checkVersion),
		GitSHA:  r.optional("git_sha", raw.GitSHA, matching(shaPattern(), "want a commit in lower-case hexadecimal digits")),
		Format:  r.optional("format", raw.Format, matching(formatPattern(), "want the ending of an archive's name, such as tar.gz")),
	}
	if raw.Version != nil && s.Version == "" {
		s.Version = refusedVersion
	}
	s.Hash = r.hash(raw.Hash)
	r.files(&s, raw, d)
	return s, r.problems
}

// optional returns "" for a missing key, and refuses an empty one.
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

// placeholders returns the values that a source's file may use: those of its own version,
// or else of the definition's.
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

// maxFileName is the longest name that a folder of every usual filesystem can hold, in
// bytes.
const maxFileName = 255

// lastSegment is the last segment of a URL's path, before anything is expanded.
//
// Source: upstream's src/fetch.py, urlsplit(mirror).path.split("/")[-1].
func lastSegment(mirror string) string {
	mirror, _, _ = strings.Cut(mirror, "#")
	mirror, _, _ = strings.Cut(mirror, "?")
	_, rest, ok := strings.Cut(mirror, "://")
	if !ok {
		rest = mirror
	}
	_, path, _ := strings.Cut(rest, "/")
	return path[strings.LastIndex(path, "/")+1:]
}

// checkFile returns why name cannot be a file of the fetch folder.
func checkFile(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the file's name is empty")
	case strings.ContainsAny(name, `/\`):
		return fmt.Errorf("file %q: a name, not a path", name)
	case name[0] == '.':
		return fmt.Errorf("file %q: begins with a dot, so upstream would not show it to the build", name)
	case len(name) > maxFileName:
		return fmt.Errorf("file %q: longer than %d bytes", name, maxFileName)
	case !plainText(name):
		return fmt.Errorf("file %q: holds a space or a character that cannot be printed", name)
	}
	return nil
}

// expandMirror returns an http or https URL with a host.
func expandMirror(template string, values map[string]string) (string, error) {
	mirror, err := expand(template, values)
	if err != nil {
		return "", err
	}
	if !plainText(mirror) {
		return "", fmt.Errorf("mirror %q: holds a space or a character that cannot be printed", mirror)
	}
	u, err := url.Parse(mirror)
	switch {
	case err != nil:
		return "", fmt.Errorf("mirror %q: not a URL", mirror)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("mirror %q: want http:// or https://", mirror)
	case u.Hostname() == "":
		return "", fmt.Errorf("mirror %q: has no host", mirror)
	}
	return mirror, nil
}

// plainText reports whether s is printable ASCII without spaces.
func plainText(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Hash is the sha256 of a source, which is an input. Digests of outputs have another
// type, in package oci, so that the compiler keeps them apart.
type Hash [32]byte

// ParseHash reads 64 lower-case hexadecimal digits. Upper case is refused,
// because upstream compares the text.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return Hash{}, fmt.Errorf("parsing sha256 %q: want 64 hexadecimal digits, got %d characters", s, len(s))
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Hash{}, fmt.Errorf("parsing sha256 %q: %q is not a lower-case hexadecimal digit", s, c)
		}
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		panic("graph: internal error: " + err.Error())
	}
	return h, nil
}

// String is 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHash.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}
