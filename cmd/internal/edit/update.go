package edit

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// SameError says that a definition or source has that version already.
type SameError struct{ What, Version string }

func (e *SameError) Error() string { return fmt.Sprintf("%s is at %s already", e.What, e.Version) }

// Update prepares another version of the definition in dir, or of one of its sources if
// key is given. The edit's sources are those whose mirrors or file change with the
// version, also in definitions that take their version from this one. The error is a
// *SameError if the version is the present one.
func (t Tree) Update(ctx context.Context, dir, version, key string) (*Edit, error) {
	e, text, err := t.begin(dir)
	if err != nil {
		return nil, err
	}
	u := &update{Edit: e, name: dir + "/package.toml", key: []string{"package", "version"}, version: version}
	if key != "" {
		u.key = []string{"sources", key, "version"}
	}
	if err := u.check(text, key); err != nil {
		return nil, err
	}
	if u.lacking, err = placeholders(text); err != nil {
		return nil, &graph.FileError{File: u.name, Err: err}
	}
	before, _, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	if err := text.Set(version, u.key...); err != nil {
		return nil, &graph.FileError{File: u.name, Line: text.Line(u.key...), Err: err}
	}
	after, d, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	return e, u.compare(before, after, d)
}

// update is an Edit while it is prepared.
type update struct {
	*Edit
	name         string   // of the package.toml
	key          []string // of the version
	was, version string
	lacking      []string // sources that have no hash yet
}

// check reads the present version.
func (u *update) check(text *Text, key string) error {
	fail := func(format string, args ...any) error {
		return &graph.FileError{File: u.name, Line: text.Line(u.key[:len(u.key)-1]...), Err: fmt.Errorf(format, args...)}
	}
	was, ok := text.String(u.key...)
	from, _ := text.String("package", "version_from")
	switch {
	case ok && was == u.version:
		return &SameError{strings.TrimPrefix(u.dir, "packages/"), was}
	case ok:
		u.was = was
		return nil
	case key != "" && text.Line("sources", key) == 0:
		return fail("has no [sources.%s]; it has %s", key, strings.Join(text.Table("sources"), ", "))
	case key != "":
		return fail("sources.%s has no version of its own: it takes the package's", key)
	case from != "":
		return fail("it takes its version from %s: sx update %s %s", from, from, u.version)
	}
	return fail("it has no version")
}

// compare lists the sources of all definitions that change, and notes those that stay.
func (u *update) compare(before, after *graph.Graph, own *graph.Definition) error {
	old := map[string]*graph.Definition{}
	for _, d := range before.Definitions() {
		old[d.Dir] = d
	}
	kept := []graph.Source(nil)
	for _, d := range after.Definitions() {
		was := old[d.Dir]
		if was == nil {
			continue
		}
		delete(old, d.Dir)
		for i, s := range d.Sources {
			changed := !slices.Equal(s.Mirrors, was.Sources[i].Mirrors) || s.File != was.Sources[i].File
			if changed || d == own && slices.Contains(u.lacking, s.Key) {
				if err := u.add(d, s, was.Sources[i]); err != nil {
					return err
				}
			} else if d == own {
				kept = append(kept, s)
			}
		}
		if d != own && d.Version != was.Version {
			u.Followers = append(u.Followers, strings.TrimPrefix(d.Dir, "packages/"))
		}
	}
	if len(old) > 0 {
		return broken(after, old)
	}
	u.containerfile(own)
	return u.keep(own, kept)
}

// broken returns the errors of definitions that the version would break.
func broken(after *graph.Graph, lost map[string]*graph.Definition) error {
	var all []*graph.Broken
	for _, b := range after.Broken() {
		if lost[b.Dir] != nil {
			all = append(all, b)
		}
	}
	return &graph.BrokenError{Broken: all}
}

// add lists a source that changes.
func (u *update) add(d *graph.Definition, s, was graph.Source) error {
	text, err := u.text(d.Dir)
	if err != nil {
		return err
	}
	u.want(d, s, text)
	if s.GitSHA != "" && len(u.key) == 2 || s.GitSHA != "" && u.key[1] == s.Key {
		u.note("%s/package.toml:%d: git_sha of %s is still that of the old version: edit it", d.Dir, text.Line("sources", s.Key, "git_sha"), s.Key)
	}
	if was.File != s.File {
		u.mentions(d, was.File)
	}
	return nil
}

// keep notes the sources of the definition that stay: all, or the one whose version is
// edited. It returns an error if no source changes and one has the old version as text.
func (u *update) keep(d *graph.Definition, kept []graph.Source) error {
	text, err := u.text(d.Dir)
	if err != nil {
		return err
	}
	ofSource := u.key[0] == "sources"
	literal := ""
	for _, s := range kept {
		line := text.Line("sources", s.Key)
		switch {
		case ofSource && s.Key != u.key[1]:
		case s.Version != "" && !ofSource:
			u.note("%s:%d: sources.%s stays at its own version, %s: --source %s updates it", u.name, line, s.Key, s.Version, s.Key)
		case namesVersion(strings.Join(s.Mirrors, " ")+" "+s.File, u.was):
			literal = s.Key
			u.note("%s:%d: sources.%s has %s as text, and stays: write {version} there", u.name, line, s.Key, u.was)
		default:
			u.note("%s:%d: sources.%s does not depend on the version, and stays", u.name, line, s.Key)
		}
	}
	if literal != "" && len(u.Sources) == 0 {
		return &graph.FileError{File: u.name, Line: text.Line("sources", literal),
			Err: fmt.Errorf("sources.%s has %s as text, so another version would be the same bytes: write {version} there, or add the new source by hand", literal, u.was)}
	}
	return nil
}

// containerfile notes where the Containerfile names the old version as text.
func (u *update) containerfile(d *graph.Definition) {
	if len(u.key) == 2 {
		u.mentions(d, u.was)
	}
}

// maxMentions bounds the lines that are named.
const maxMentions = 5

// mentions notes the lines of the Containerfile that have a word.
func (u *update) mentions(d *graph.Definition, word string) {
	n, found := 0, 0
	for line := range bytes.Lines(d.Containerfile) {
		n++
		if !namesVersion(string(line), word) || strings.HasPrefix(strings.TrimSpace(string(line)), "#") {
			continue
		}
		if found++; found <= maxMentions {
			u.note("%s/Containerfile:%d: has %s as text: check whether it must change", d.Dir, n, word)
		}
	}
}

func (u *update) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(u.Notes, text) {
		u.Notes = append(u.Notes, text)
	}
}

// namesVersion reports whether a text contains a version (or a file's name) that is not
// part of a longer number. A version without a dot, hyphen or underscore could be any
// number: it is not looked for.
func namesVersion(text, version string) bool {
	if !strings.ContainsAny(version, "._-") {
		return false
	}
	part := func(b byte) bool { return b >= '0' && b <= '9' || b == '.' }
	for at := 0; ; {
		i := strings.Index(text[at:], version)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(version)
		if (i == 0 || !part(text[i-1])) && (end == len(text) || !part(text[end]) || text[end] == '.' && (end+1 == len(text) || !part(text[end+1]))) {
			return true
		}
		at = i + 1
	}
}
