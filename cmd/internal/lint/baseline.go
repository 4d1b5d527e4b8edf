package lint

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Baseline is findings that are known: how many of each there may be. Lines do not count, so
// that an edit elsewhere in a file brings none of them back.
type Baseline map[string]int

// key is a line of a baseline file.
func (f Finding) key() string {
	return fmt.Sprintf("%s\t%s\t%s", f.File, f.Rule, strings.Join(strings.Fields(f.Message), " "))
}

// baselineHead explains the file to who opens it.
const baselineHead = "# Known findings of sx lint, one per line: file, rule, message. Written by --write-baseline.\n"

// ParseBaseline reads a baseline file.
func ParseBaseline(data []byte) (Baseline, error) {
	b := Baseline{}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if strings.Count(text, "\t") != 2 {
			return nil, fmt.Errorf("line %d: want a file, a rule and a message with tabs between them", n)
		}
		b[text]++
	}
	return b, nil
}

// FormatBaseline returns a baseline file with the findings.
func FormatBaseline(findings []Finding) []byte {
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.key())
	}
	slices.Sort(lines)
	return []byte(baselineHead + strings.Join(append(lines, ""), "\n"))
}

// Split divides findings into those that the baseline does not have, and how many it has.
func (b Baseline) Split(findings []Finding) (fresh []Finding, known int) {
	left := map[string]int{}
	for k, n := range b {
		left[k] = n
	}
	for _, f := range findings {
		if k := f.key(); left[k] > 0 {
			left[k]--
			known++
		} else {
			fresh = append(fresh, f)
		}
	}
	return fresh, known
}
