package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Package describes one output ("core-llvm"), or of all outputs of the definition of that name.
type Package struct {
	Memory int64         // bytes that its build needs at most; 0: unknown
	Time   time.Duration // how long its build takes, where no earlier one tells; 0: unknown
	// Engine lists the engines that may build it, each by its name, a label or a platform
	// that it builds for; nil: all. Only the user may say it.
	Engine []string
}

const packages = "packages"

// packageKeys are the settings in each [packages."<name>"]. They are no variables and no flags.
var packageKeys = map[string]func(p *Package, text string) error{
	"memory": func(p *Package, text string) (err error) { return keep(&p.Memory, text, parseSize) },
	"time": func(p *Package, text string) (err error) {
		return keep(&p.Time, text, parseDuration(time.Second, 1000*time.Hour))
	},
	"engine": func(p *Package, text string) error { return keep(&p.Engine, text, parseBinding) },
}

// parseBinding takes names and labels of engines, and platforms, with commas between them.
func parseBinding(text string) (words []string, err error) {
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		if _, err := parsePlatforms(word); err != nil && !engineName.MatchString(word) {
			return nil, fmt.Errorf("want names or labels of engines, or platforms such as linux/amd64, with commas between them, not %q", text)
		}
		words = append(words, word)
	}
	return words, nil
}

// keep leaves the field alone on an error.
func keep[T any](field *T, text string, parse func(string) (T, error)) error {
	v, err := parse(text)
	if err == nil {
		*field = v
	}
	return err
}

// inNamed splits the name of a setting below a section of named tables: "core-llvm" and
// "memory" of "packages.core-llvm.memory".
func inNamed(section, name string) (of, last string, ok bool) {
	rest, ok := strings.CutPrefix(name, section+".")
	at := strings.LastIndex(rest, ".")
	if !ok || at < 0 {
		return "", "", false
	}
	of = rest[:at]
	if bare, err := strconv.Unquote(of); err == nil {
		of = bare
	}
	return of, rest[at+1:], true
}

// packageKey is the key that name is, such as "packages.core-llvm.memory".
func packageKey(name string) (key, bool) {
	of, last, ok := inNamed(packages, name)
	set := packageKeys[last]
	if !ok || set == nil {
		return key{}, false
	}
	userOnly := ""
	if last == "engine" {
		userOnly = ofTheAudit
	}
	return key{name: name, userOnly: userOnly, set: func(s *Settings, text string) error {
		p := s.Packages[of]
		if err := set(&p, text); err != nil {
			return err
		}
		if s.Packages == nil {
			s.Packages = map[string]Package{}
		}
		s.Packages[of] = p
		return nil
	}}, true
}

// knownNamed handles an entry that is no key, below [packages] or [engines], whose tables
// have the given keys.
func knownNamed(e entry, keys []string, report func(entry, error)) {
	switch {
	case e.depth == 2 && !e.table:
		report(e, unknown("setting", e.name, names()))
	case e.depth == 3:
		of := e.name[:strings.LastIndex(e.name, ".")+1]
		for i := range keys {
			keys[i] = of + keys[i]
		}
		report(e, unknown("setting", e.name, keys))
	}
}
