package settings

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// NamedEngine is an engine that [engines.NAME] of the user's file describes.
type NamedEngine struct {
	Address string // as in Engine
	// How to meet it at tcp://; "" if not set.
	TLSDir, TLSCACert, TLSCert, TLSKey, TLSServerName string
	Jobs                                              int      // outputs built on it at once; 0: as build.jobs
	Memory                                            int64    // bytes that its builds at once may need; 0: as build.memory
	Platforms                                         []string // the only ones that it builds for; nil: all that it can
	Labels                                            []string // by which [packages] choose it
}

const engines = "engines"

// engineKeys are the settings in each [engines.NAME], which only the user's file may have.
var engineKeys = map[string]func(e *NamedEngine, text string) error{
	"address":       func(e *NamedEngine, text string) error { return keep(&e.Address, text, parseAddress) },
	"tlscacert":     func(e *NamedEngine, text string) error { return keep(&e.TLSCACert, text, parsePath) },
	"tlscert":       func(e *NamedEngine, text string) error { return keep(&e.TLSCert, text, parsePath) },
	"tlskey":        func(e *NamedEngine, text string) error { return keep(&e.TLSKey, text, parsePath) },
	"tlsservername": func(e *NamedEngine, text string) error { return keep(&e.TLSServerName, text, parseWord) },
	"tlsdir":        func(e *NamedEngine, text string) error { return keep(&e.TLSDir, text, parsePath) },
	"jobs":          func(e *NamedEngine, text string) error { return keep(&e.Jobs, text, number(0, 1024)) },
	"memory":        func(e *NamedEngine, text string) error { return keep(&e.Memory, text, ParseSize) },
	"platform":      func(e *NamedEngine, text string) error { return keep(&e.Platforms, text, parsePlatforms) },
	"labels":        func(e *NamedEngine, text string) error { return keep(&e.Labels, text, parseLabels) },
}

// engineKey returns the key that name is, such as "engines.big.jobs".
func engineKey(name string) (key, bool) {
	of, last, ok := inNamed(engines, name)
	set := engineKeys[last]
	if !ok || set == nil {
		return key{}, false
	}
	return key{name: name, userOnly: ofTheAudit, set: func(s *Settings, text string) error {
		if !engineName.MatchString(of) || slices.Contains(kinds, of) {
			return fmt.Errorf("want [engines.NAME] with a name of letters, digits and - that is not one of %s, not %q", strings.Join(kinds, ", "), of)
		}
		e := s.Engines[of]
		if err := set(&e, text); err != nil {
			return err
		}
		if s.Engines == nil {
			s.Engines = map[string]NamedEngine{}
		}
		s.Engines[of] = e
		return nil
	}}, true
}

var engineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

// kinds are the words that are no addresses and mean an engine.
var kinds = []string{"embedded", "docker", "podman"}

// parseAddress takes an address of one engine, not the name of another.
func parseAddress(text string) (string, error) {
	if slices.Contains(kinds, text) || strings.Contains(text, "://") {
		return parseWord(text)
	}
	return "", fmt.Errorf(`want embedded, docker, podman or an address such as "ssh://builder.example.org", not %q`, text)
}

// parseEngines takes names and addresses of engines with blanks between them; a comma
// before a blank is left out. Which schemes there are is known where they are dialled.
func parseEngines(text string) (string, error) {
	var words []string
	for _, word := range strings.Fields(text) {
		word = strings.TrimSuffix(word, ",")
		if _, err := parseAddress(word); err != nil && !engineName.MatchString(word) {
			return "", fmt.Errorf(`want embedded, docker, podman, an address such as "ssh://builder.example.org", or the NAME of [engines.NAME], not %q`, word)
		}
		if slices.Contains(words, word) {
			return "", fmt.Errorf("the engine %q is named twice", word)
		}
		words = append(words, word)
	}
	if len(words) == 0 {
		return "", errors.New("want at least one engine")
	}
	return strings.Join(words, " "), nil
}

func parseLabels(text string) (labels []string, err error) {
	for _, label := range strings.Split(text, ",") {
		if label = strings.TrimSpace(label); !engineName.MatchString(label) {
			return nil, fmt.Errorf("want words of letters, digits and - with commas between them, not %q", text)
		}
		labels = append(labels, label)
	}
	return labels, nil
}

// Selected returns the engines that Engine.Address lists: their names ("" for those that
// are given by address) and what is set about them.
func (s Settings) Selected() (names []string, chosen []NamedEngine) {
	for _, word := range strings.Fields(s.Engine.Address) {
		if e, ok := s.Engines[word]; ok {
			names, chosen = append(names, word), append(chosen, e)
			continue
		}
		names, chosen = append(names, ""), append(chosen, NamedEngine{
			Address: word, TLSDir: s.Engine.TLSDir, TLSCACert: s.Engine.TLSCACert, TLSCert: s.Engine.TLSCert,
			TLSKey: s.Engine.TLSKey, TLSServerName: s.Engine.TLSServerName,
		})
	}
	return names, chosen
}

// checkEngines adds an error for each engine that has no address, and for each name in
// Engine.Address that no section describes.
func (l *loader) checkEngines() {
	s := l.settings
	for _, name := range slices.Sorted(maps.Keys(s.Engines)) {
		if s.Engines[name].Address == "" {
			l.add(l.userFile(), "", fmt.Errorf("[engines.%s] has no address", name))
		}
	}
	for _, word := range strings.Fields(s.Engine.Address) {
		if _, err := parseAddress(word); err != nil && s.Engines[word].Address == "" {
			l.add(l.engineFrom, "", unknown("engine", word, slices.Concat(kinds, slices.Sorted(maps.Keys(s.Engines)))))
		}
	}
}

// Embedded reports whether the engine inside sx is among the selected ones, and whether it
// is the only one.
func (s Settings) Embedded() (some, only bool) {
	_, chosen := s.Selected()
	for _, e := range chosen {
		some = some || e.Address == kinds[0]
	}
	return some, some && len(chosen) == 1
}
