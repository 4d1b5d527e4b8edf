package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Level says how bad a finding is.
type Level int

// The levels.
const (
	Note    Level = iota + 1 // good to know
	Warning                  // worth a change
	Error                    // upstream ignores it, or cannot build it
)

// String is the word for a level.
func (l Level) String() string {
	return [...]string{"", "note", "warning", "error"}[l]
}

// ParseLevel reads the word for a level.
func ParseLevel(word string) (Level, error) {
	for _, l := range []Level{Note, Warning, Error} {
		if l.String() == word {
			return l, nil
		}
	}
	return 0, fmt.Errorf("want note, warning or error, not %q", word)
}

// MarshalText is String.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Rule is what findings are about.
type Rule struct {
	Name   string
	Level  Level
	Reason string // a sentence: why it matters
}

// The names of sx's own rules.
const (
	brokenDefinition = "broken-definition"
	noPackageTOML    = "no-package-toml"
	missingField     = "missing-field"
	unknownKey       = "unknown-key"
	plainHTTP        = "plain-http"
	singleMirror     = "single-mirror"
	mirrorFile       = "mirror-file"
	unusedSource     = "unused-source"
	unusedArg        = "unused-arg"
	emptyArg         = "empty-arg"
	stageOrder       = "stage-order"
	runNetwork       = "run-network"
)

// ownRules are sx's rules, in the order of docs/lint.md.
var ownRules = []Rule{
	{brokenDefinition, Error, "its outputs, and all that depend on them, cannot be built"},
	{noPackageTOML, Error, "upstream skips such a folder without a word, so nothing in it is ever built"},
	{missingField, Warning, "package.toml(5) requires description and license, and readers look for the website"},
	{unknownKey, Warning, "upstream ignores a key that it does not know, so a slip of the finger has no effect"},
	{plainHTTP, Warning, "the hash protects the bytes, but everyone on the way sees and can block the download"},
	{singleMirror, Note, "if the only mirror is gone, nobody can build the output from source any more"},
	{mirrorFile, Warning, "the file is named after the first mirror, and a reader of another mirror looks for another name"},
	{unusedSource, Warning, "a source that nothing uses is downloaded and kept for nothing"},
	{unusedArg, Warning, "an ARG that nothing uses misleads readers, and its value decides whether the cache is used"},
	{emptyArg, Warning, "an ARG that has neither a default nor a value from package.toml is empty"},
	{stageOrder, Warning, "a stage is built from itself and those before it: bootstrap, core, pallet, user"},
	{runNetwork, Warning, "a step with network may get other bytes tomorrow, and no hash protects them"},
}

// Rules returns sx's own rules. Those of BuildKit come with their findings.
func Rules() []Rule { return slices.Clone(ownRules) }

// skippedRule is BuildKit's rule that upstream's builds skip.
//
// Source: upstream's src/targets.py, BUILDKIT_DOCKERFILE_CHECK.
const skippedRule = "FromPlatformFlagConstDisallowed"

func ruleNamed(name string) Rule {
	i := slices.IndexFunc(ownRules, func(r Rule) bool { return r.Name == name })
	return ownRules[i]
}

// Finding is one place that a rule is about.
type Finding struct {
	Rule    string `json:"rule"`
	Level   Level  `json:"level"`
	File    string `json:"file"`           // relative to the tree
	Line    int    `json:"line,omitempty"` // from 1; 0 for the whole file
	Message string `json:"message"`
	Reason  string `json:"reason"`
	URL     string `json:"url,omitempty"` // of the rule's page, if it is not in docs/lint.md
}

// found makes a finding by one of sx's rules.
func found(rule, file string, line int, format string, args ...any) Finding {
	r := ruleNamed(rule)
	return Finding{r.Name, r.Level, file, line, fmt.Sprintf(format, args...), r.Reason, ""}
}

// compare orders findings by place, then rule and text.
func compare(a, b Finding) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message))
}
