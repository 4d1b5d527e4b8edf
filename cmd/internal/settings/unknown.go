package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// known returns the entries that are settings, and reports each of the others once: an unknown section instead of all
// keys in it, a section given as a value, an unknown key.
func known(entries []entry, report func(entry, error)) []entry {
	var found []entry
	for _, e := range entries {
		section, _, _ := strings.Cut(e.name, ".")
		_, isKey := keyNamed(e.name)
		switch {
		case isKey:
			found = append(found, e)
		case e.depth == 1 && hasSection(e.name):
			if !e.table {
				report(e, fmt.Errorf("%q is a section: write [%s] and its keys below", e.name, e.name))
			}
		case section == packages:
			knownNamed(e, PackageKeys(), report)
		case section == engines:
			knownNamed(e, EngineKeys(), report)
		case e.depth == 1 && e.table:
			report(e, unknown("section", "["+e.name+"]", sections()))
		case !hasSection(section) && e.depth > 1 || underKey(e):
			// The section, or the key that wants no table, is reported.
		default:
			report(e, unknown("setting", e.name, names()))
		}
	}
	return found
}

// underKey reports that e lies in a table given for a key, or for an unknown key that is reported itself.
func underKey(e entry) bool { return e.depth > 2 }

func unknown(kind, name string, candidates []string) error {
	if near := nearest(name, candidates); near != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q?", kind, name, near)
	}
	return fmt.Errorf("unknown %s %q", kind, name)
}

// nearest returns the candidate that takes the fewest edits to reach, "" where it would take a third of the name or more.
// A key without its section is as near as with it.
func nearest(name string, candidates []string) string {
	best, least := "", 1+max(1, len(name)/3)
	if len(name) > 100 { // longer than any setting, and comparing takes its time
		return ""
	}
	for _, c := range candidates {
		distance := levenshtein.Distance(name, c, nil)
		if _, short, ok := strings.Cut(c, "."); ok && !strings.Contains(name, ".") {
			distance = min(distance, levenshtein.Distance(name, short, nil))
		}
		if distance < least {
			best, least = c, distance
		}
	}
	return best
}

func names() []string {
	var list []string
	for _, k := range keys {
		list = append(list, k.name)
	}
	return list
}

func sections() []string {
	list := []string{"[" + packages + "]", "[" + engines + "]"}
	for _, k := range keys {
		section, _, _ := strings.Cut(k.name, ".")
		if section = "[" + section + "]"; !slices.Contains(list, section) {
			list = append(list, section)
		}
	}
	return list
}

// UnknownEnv returns a warning for each SX_* variable of os.Environ that is no setting. It is no error: a variable may be
// for another version of sx, or for a program that sx starts. Names that begin with SX_TEST_ are the tests' own.
func UnknownEnv(environ []string) []string {
	var variables []string
	for _, k := range keys {
		variables = append(variables, k.env())
	}
	var warnings []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "SX_") && !strings.HasPrefix(name, "SX_TEST_") && !slices.Contains(variables, name) {
			warnings = append(warnings, unknown("variable", name, variables).Error())
		}
	}
	slices.Sort(warnings)
	return warnings
}
