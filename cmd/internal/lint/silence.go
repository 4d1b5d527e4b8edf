package lint

import (
	"bytes"
	"slices"
	"strings"
)

// silence is the rules that a file's comments silence in it.
type silence []string

// silencePrefix begins such a comment: "# sx lint: skip=run-network,plain-http", like
// BuildKit's own "# check=skip=…", which stands for BuildKit's rules only.
const silencePrefix = "sx lint: skip="

func readSilence(data []byte) (s silence) {
	for line := range bytes.Lines(data) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "#")
		if !ok {
			continue
		}
		rules, ok := strings.CutPrefix(strings.TrimSpace(comment), silencePrefix)
		if !ok {
			continue
		}
		rules, _, _ = strings.Cut(rules, " ") // a reason may follow
		s = append(s, strings.Split(rules, ",")...)
	}
	return s
}

func (s silence) has(rule string) bool { return slices.Contains(s, rule) }
