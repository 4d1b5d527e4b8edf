package ci

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

func env(set ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(set); i += 2 {
			if set[i] == name {
				return set[i+1]
			}
		}
		return ""
	}
}

func TestDetect(t *testing.T) {
	for want, getenv := range map[System]func(string) string{
		None:    env("CI", "true"),
		GitHub:  env("GITHUB_ACTIONS", "true"),
		Forgejo: env("GITHUB_ACTIONS", "true", "FORGEJO_ACTIONS", "true"),
		GitLab:  env("GITLAB_CI", "true"),
	} {
		if got := Detect(getenv); got != want {
			t.Errorf("Detect: %v, want %v", got, want)
		}
	}
	if got := Detect(env("GITHUB_ACTIONS", "true", "GITEA_ACTIONS", "true")); got != Forgejo {
		t.Errorf("Gitea: %v", got)
	}
}

var sample = Report{
	Command: "sx build", Totals: "1 built, 1 failed", Tree: "trees/stagex",
	Results: []Result{
		{Output: "core-a", Words: "MATCH", Elapsed: 90 * time.Second},
		{Output: "core-b", State: Failed, Words: "failed", Message: "exit code 1", File: "packages/core/b/Containerfile", Line: 7,
			Log: []string{"cc -c x.c", "x.c:1: error"}, LogPath: "/t/.sx/logs/core-b/1", Elapsed: time.Second},
		{Output: "core-c", State: Skipped, Words: "skipped", Message: "core-b failed"},
		{Output: "core-d", State: Failed, Words: "MISMATCH"},
	},
}

func TestAnnotate(t *testing.T) {
	for system, want := range map[System]string{
		None: "",
		GitHub: "::error file=trees/stagex/packages/core/b/Containerfile,line=7,title=core-b failed::exit code 1\n" +
			"::group::core-b: the end of its log\ncc -c x.c\nx.c:1: error\nthe whole log: /t/.sx/logs/core-b/1\n::endgroup::\n" +
			"::error title=core-d MISMATCH::MISMATCH\n",
		GitLab: "\x1b[0Ksection_start:0:sx_log_1[collapsed=true]\r\x1b[0Kcore-b: the end of its log\n" +
			"cc -c x.c\nx.c:1: error\nthe whole log: /t/.sx/logs/core-b/1\n\x1b[0Ksection_end:0:sx_log_1\r\x1b[0K\n",
	} {
		var b bytes.Buffer
		if err := Annotate(&b, system, sample); err != nil || b.String() != want {
			t.Errorf("%v: %v\n%q\nwant\n%q", system, err, b.String(), want)
		}
	}
}

// hostile is text that would be a command, markup, a mention or an end of what it stands in.
const hostile = "a\n::error::x\r##[error]y::set-output name=z::1 % ]]></failure> </pre></details><img src=x> |`*_[l](http://e)_ @someone :smile: \x1b[2J"

func hostileReport() Report {
	one := Result{Output: "core-a" + hostile, State: Failed, Words: hostile, Message: hostile, File: hostile, Line: 1, Log: []string{hostile, "", hostile}, LogPath: hostile}
	passed := one
	passed.State = Passed
	return Report{Command: hostile, Totals: hostile, Tree: hostile, Results: []Result{one, passed}}
}

func TestHostileAnnotation(t *testing.T) {
	for _, s := range []System{GitHub, Forgejo, GitLab} {
		var b bytes.Buffer
		if err := Annotate(&b, s, hostileReport()); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if command := regexp.MustCompile(`^\s*::`).MatchString(line); command &&
				!strings.HasPrefix(line, "::error file=") && !strings.HasPrefix(line, "::group::core-a") && line != "::endgroup::" {
				t.Errorf("%v: a command: %q", s, line)
			}
			if strings.Contains(line, "##[") || strings.Contains(line, "\x1b[2J") || s != GitLab && strings.Contains(line, "\r") {
				t.Errorf("%v: not harmless: %q", s, line)
			}
		}
	}
}

func TestHostileSummary(t *testing.T) {
	var b bytes.Buffer
	if err := Summary(&b, hostileReport()); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, bad := range []string{"<img", "@someone", "](", "`", "*", "\x1b", "##["} {
		if strings.Contains(got, bad) {
			t.Errorf("the summary has %q:\n%s", bad, got)
		}
	}
	if opened, closed := strings.Count(got, "<pre>"), strings.Count(got, "</pre>"); opened != 1 || closed != 1 {
		t.Errorf("%d <pre>, %d </pre>", opened, closed)
	}
	for line := range strings.SplitSeq(got, "\n") {
		if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") && n != 4 {
			t.Errorf("a row of %d cells: %s", n-1, line)
		}
	}
	between := got[strings.Index(got, "<pre>"):strings.Index(got, "</pre>")]
	if strings.Contains(between, "\n\n") {
		t.Errorf("an empty line ends the block of HTML:\n%s", between)
	}
}

func TestHostileJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := JUnit(&b, hostileReport()); err != nil {
		t.Fatal(err)
	}
	var elements []string
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			elements = append(elements, start.Name.Local)
		}
	}
	if got := strings.Join(elements, " "); got != "testsuites testsuite testcase failure testcase system-out" {
		t.Errorf("elements: %s", got)
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := JUnit(&b, sample); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<testsuite name="sx build" tests="4" failures="2" skipped="1" time="91.000">`,
		`<testcase name="core-a" classname="core" time="90.000">`, `<system-out>MATCH</system-out>`,
		`<testcase name="core-b" classname="core" file="packages/core/b/Containerfile" time="1.000">`,
		`<failure message="failed: exit code 1">cc -c x.c`, `<skipped message="skipped: core-b failed"></skipped>`, `<failure message="MISMATCH">`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, &b)
		}
	}
}

func TestSummary(t *testing.T) {
	var b bytes.Buffer
	if err := Summary(&b, sample); err != nil {
		t.Fatal(err)
	}
	want := []string{"### <code>sx build</code>", "1 built, 1 failed", "| <code>core&#45;b</code> | failed: <code>exit code 1</code> | 1s |",
		"| <code>core&#45;d</code> | MISMATCH |  |", "x&#46;c&#58;1&#58; error", "<details><summary>All others", "skipped: <code>core&#45;b failed</code>", "| <code>core&#45;a</code> | MATCH | 1m30s |"}
	rest := b.String()
	for _, part := range want {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("no %q, in this order, in\n%s", part, &b)
		}
		rest = after
	}
}

// However much fails, the summary stays below what GitHub takes.
func TestLargeSummary(t *testing.T) {
	r := Report{Command: "sx build"}
	line := strings.Repeat("@", 10000)
	for range 5000 {
		r.Results = append(r.Results, Result{Output: "core-a", State: Failed, Words: "failed", Message: line, Log: []string{line, line, line}})
	}
	var b bytes.Buffer
	if err := Summary(&b, r); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 1<<20 {
		t.Errorf("%d bytes", b.Len())
	}
	if !strings.Contains(b.String(), " more | | |") {
		t.Error("it does not say that it leaves any out")
	}
}
