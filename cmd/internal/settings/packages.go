package settings

import (
	"strconv"
	"strings"
	"time"
)

// Package describes one output ("core-llvm"), or of all outputs of the definition of that name.
type Package struct {
	Memory int64         // bytes that its build needs at most; 0: unknown
	Time   time.Duration // how long its build takes, where no earlier one tells; 0: unknown
}

const packages = "packages"

// packageKeys are the settings in each [packages."<name>"]. They are no variables and no flags.
var packageKeys = map[string]func(p *Package, text string) error{
	"memory": func(p *Package, text string) (err error) { return keep(&p.Memory, text, parseSize) },
	"time": func(p *Package, text string) (err error) {
		return keep(&p.Time, text, parseDuration(time.Second, 1000*time.Hour))
	},
}

// keep leaves the field alone on an error.
func keep[T any](field *T, text string, parse func(string) (T, error)) error {
	v, err := parse(text)
	if err == nil {
		*field = v
	}
	return err
}

// packageKey is the key that name is, such as "packages.core-llvm.memory".
func packageKey(name string) (key, bool) {
	rest, ok := strings.CutPrefix(name, packages+".")
	at := strings.LastIndex(rest, ".")
	if !ok || at < 0 {
		return key{}, false
	}
	set, ok := packageKeys[rest[at+1:]]
	if !ok {
		return key{}, false
	}
	of := rest[:at]
	if bare, err := strconv.Unquote(of); err == nil {
		of = bare
	}
	return key{name: name, set: func(s *Settings, text string) error {
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

// knownPackage handles an entry below [packages] that is no key.
func knownPackage(e entry, report func(entry, error)) {
	switch {
	case e.depth == 2 && !e.table:
		report(e, unknown("setting", e.name, names()))
	case e.depth == 3:
		of := e.name[:strings.LastIndex(e.name, ".")]
		report(e, unknown("setting", e.name, []string{of + ".memory", of + ".time"}))
	}
}
