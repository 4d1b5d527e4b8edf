package ci

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// The parts of JUnit's XML that GitLab, Jenkins and their like read: there is no standard
// (github.com/testmoapp/junitxml has what is common).
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
		Output  string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as JUnit's XML: a test case for each output.
func JUnit(w io.Writer, r Report) error {
	suite := junitSuite{Name: r.Command, Tests: len(r.Results), Failures: r.count(Failed), Skipped: r.count(Skipped)}
	total := 0.0
	for _, one := range r.Results {
		total += one.Elapsed.Seconds()
		suite.Cases = append(suite.Cases, junitCaseOf(one))
	}
	suite.Time = seconds(total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitCaseOf(one Result) junitCase {
	stage, _, _ := strings.Cut(one.Output, "-")
	c := junitCase{Name: one.Output, Class: stage, File: text.Field(one.File), Time: seconds(one.Elapsed.Seconds())}
	said := text.Field(one.Words)
	if one.Message != "" {
		said += ": " + text.Field(one.Message)
	}
	var log strings.Builder
	for _, line := range one.Log {
		log.WriteString(text.Lines(line) + "\n")
	}
	switch one.State {
	case Failed:
		c.Failure = &junitMessage{Message: said, Text: log.String()}
	case Skipped:
		c.Skipped = &junitMessage{Message: said}
	default:
		c.Output = said
	}
	return c
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }
