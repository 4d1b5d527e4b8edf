package buildkit

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
)

// violation is a finding of BuildKit's linter in a line of the Containerfile.
type violation struct {
	line       int // 0 if unknown
	rule, said string
}

// lintWarning matches a violation as BuildKit formats it (moby/buildkit: linter,
// LintFormatShort). BuildKit sends violations as warnings, and with `error=true` ends the
// build with an error that lists only their rules.
var lintWarning = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)^(\w+): (.*?)(?: \(line \d+\))?$`) })

const lintFailed = "lint violation found for rules: "

// seeWarnings records violations, each once: BuildKit repeats them for each platform and
// each time that it reads the file.
func (w *watch) seeWarnings(warnings []*client.VertexWarning) {
	for _, warning := range warnings {
		m := lintWarning().FindStringSubmatch(string(warning.Short))
		if m == nil || len(w.violations) == maxViolations {
			continue
		}
		v := violation{rule: m[1], said: m[2]}
		if len(warning.Range) > 0 && warning.Range[0].Start != nil {
			v.line = int(warning.Range[0].Start.Line)
		}
		if !slices.Contains(w.violations, v) {
			w.violations = append(w.violations, v)
		}
	}
}

// maxViolations is how many violations of one file are recorded.
const maxViolations = 100

// lintError turns BuildKit's list of rules into an error with each violation and its
// line; nil if err is another error.
func (w *watch) lintError(err error) *BuildError {
	_, listed, ok := strings.Cut(err.Error(), lintFailed)
	if !ok {
		return nil
	}
	be := &BuildError{Ref: w.job.Ref, File: w.job.Request.File}
	var said []string
	slices.SortFunc(w.violations, func(a, b violation) int { return cmp.Compare(a.line, b.line) })
	for i, v := range w.violations {
		if !strings.Contains(", "+listed+",", ", "+v.rule+",") {
			continue
		}
		text := v.said + " (BuildKit's check " + v.rule + ")"
		switch {
		case len(said) == 0:
			be.Line = v.line
		case v.line > 0 && v.line != w.violations[i-1].line:
			text = fmt.Sprintf("line %d: %s", v.line, text)
		}
		said = append(said, text)
	}
	if len(said) == 0 {
		said = []string{"it breaks BuildKit's checks " + listed}
	}
	be.Err = fmt.Errorf("%s; StageX builds with these checks as errors", strings.Join(said, "; "))
	return be
}
