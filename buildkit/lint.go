package buildkit

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
)

// violation is what BuildKit's linter says of a line of the Containerfile.
type violation struct {
	line       int // 0 when not known
	rule, said string
}

// lintWarning is how BuildKit writes a violation (moby/buildkit: linter,
// LintFormatShort). It sends them as warnings, and with `error=true` ends the build
// with an error that names their rules only.
var lintWarning = regexp.MustCompile(`(?s)^(\w+): (.*?)(?: \(line \d+\))?$`)

const lintFailed = "lint violation found for rules: "

// seeWarnings keeps what the linter says, each once: BuildKit says it for each
// platform and each time that it reads the file.
func (w *watch) seeWarnings(warnings []*client.VertexWarning) {
	for _, warning := range warnings {
		m := lintWarning.FindStringSubmatch(string(warning.Short))
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

// maxViolations bounds what is kept of one file.
const maxViolations = 100

// lintError turns BuildKit's list of rules into what each says, and where; nil where
// err is another one.
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
