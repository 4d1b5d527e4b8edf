package text

import (
	"regexp"
	"strings"
	"sync"
)

// Two families of commands hide in the output of a CI job:
//   - "::error file=…::" of GitHub, Gitea and Forgejo runners, at the start of a line after blanks
//     (github.com/actions/runner, ActionCommand.TryParseV2)
//   - "##[error]", "##vso[task.setvariable …]", "##teamcity[…]" of GitHub, Azure and TeamCity, *anywhere* in a line
//     (ActionCommand.TryParse and Azure's Command.TryParse look for the prefix with IndexOf)
//
// Both lose their meaning with a backslash inside, which shows where one was.
var (
	lineCommand   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[ \t]*:(:)`) })
	inlineCommand = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`##([A-Za-z0-9_-]*)\[`) })
)

// disarm breaks the CI commands in one escaped line.
func disarm(line string) string {
	if m := lineCommand().FindStringSubmatchIndex(line); m != nil {
		at := m[2] - 1
		line = line[:at] + `\` + line[at:]
	}
	if strings.Contains(line, "##") {
		line = inlineCommand().ReplaceAllString(line, `##$1\[`)
	}
	return line
}
