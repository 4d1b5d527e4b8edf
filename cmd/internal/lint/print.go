package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Formats are the words for the ways to print findings.
var Formats = []string{"text", "github", "json", "sarif"}

// Write prints findings in a format. Version is of sx, for SARIF.
func Write(w io.Writer, format, version string, findings []Finding) error {
	switch format {
	case "github":
		return writeGitHub(w, findings)
	case "json":
		return writeIndented(w, map[string]any{"findings": append([]Finding{}, findings...)})
	case "sarif":
		return writeIndented(w, sarifOf(version, findings))
	}
	return writeText(w, findings)
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeText writes "file:line: level: message [rule]" lines, which editors follow.
func writeText(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		place := f.File
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s [%s]\n", text.Field(place), f.Level, text.Field(f.Message), text.Field(f.Rule)); err != nil {
			return err
		}
	}
	return nil
}

// The characters that GitHub's workflow commands escape, in properties and in messages.
//
// Source: github.com/actions/toolkit, packages/core/src/command.ts.
var (
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	message  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
)

// writeGitHub writes workflow commands that annotate a pull request.
func writeGitHub(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		level := map[Level]string{Note: "notice", Warning: "warning", Error: "error"}[f.Level]
		_, err := fmt.Fprintf(w, "::%s file=%s,line=%d,title=%s::%s\n", level, property.Replace(f.File), lineOf(f.Line),
			property.Replace(f.Rule), message.Replace(text.Field(f.Message)+" ("+text.Field(f.Reason)+")"))
		if err != nil {
			return err
		}
	}
	return nil
}

// The part of SARIF 2.1.0 that findings need.
//
// Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string    `json:"id"`
		Short   sarifText `json:"shortDescription"`
		HelpURI string    `json:"helpUri,omitempty"`
	}
	sarifText   struct{ Text string } // with a tag below
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

// MarshalJSON writes the text as SARIF's object.
func (t sarifText) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"text": t.Text})
}

func sarifOf(version string, findings []Finding) sarifLog {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "sx", Version: version, Rules: []sarifRule{}}}, Results: []sarifResult{}}
	for _, f := range findings {
		rules := &run.Tool.Driver.Rules
		if !slices.ContainsFunc(*rules, func(r sarifRule) bool { return r.ID == f.Rule }) {
			*rules = append(*rules, sarifRule{f.Rule, sarifText{f.Reason}, f.URL})
		}
		at := sarifPhysical{Artifact: sarifArtifact{f.File}}
		if f.Line > 0 {
			at.Region = &sarifRegion{f.Line}
		}
		run.Results = append(run.Results, sarifResult{f.Rule, f.Level.String(), sarifText{f.Message}, []sarifLocation{{at}}})
	}
	slices.SortFunc(run.Tool.Driver.Rules, func(a, b sarifRule) int { return strings.Compare(a.ID, b.ID) })
	return sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}
