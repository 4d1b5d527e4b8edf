// Package ci tells a CI system what a command found: annotations at file and line and
// folded logs for GitHub, Forgejo, Gitea and GitLab, a summary in Markdown, and JUnit's XML.
//
// All texts may come from a tree or a server. None can become a command of the CI system,
// markup or a mention of a person. The package opens no file and runs nothing.
package ci

import "time"

// System is a CI system.
type System int

// The systems. Forgejo stands for Gitea too.
const (
	None System = iota
	GitHub
	Forgejo
	GitLab
)

// Detect returns the system whose variables are set. Forgejo's runner sets GitHub's too.
func Detect(getenv func(string) string) System {
	switch {
	case getenv("FORGEJO_ACTIONS") == "true", getenv("GITEA_ACTIONS") == "true":
		return Forgejo
	case getenv("GITHUB_ACTIONS") == "true":
		return GitHub
	case getenv("GITLAB_CI") == "true":
		return GitLab
	}
	return None
}

// State is the result of an output as a CI system shows it.
type State int

// The states.
const (
	Passed  State = iota
	Failed        // the command's exit code is not 0 because of it
	Skipped       // nothing can be said of it
)

// Result is about one output.
type Result struct {
	Output  string // core-gcc
	State   State
	Words   string // what became of it: "MATCH", "failed", "MISMATCH, published …"
	Message string // why it failed
	File    string // where, below the tree; "" if no file is to blame
	Line    int    // 0: unknown
	Log     []string
	LogPath string // of the whole log
	Elapsed time.Duration
}

// Report is about a command.
type Report struct {
	Command string // sx build
	Totals  string // a line that counts the results
	Results []Result
	Tree    string // the path of the tree in the repository, "" if it is the root
}

func (r Report) count(s State) (n int) {
	for _, one := range r.Results {
		if one.State == s {
			n++
		}
	}
	return n
}
