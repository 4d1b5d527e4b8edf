package buildkit

import "strings"

// usernsHint says what lies behind an error of the kernel where the engine is root
// of a user namespace only; "" where nothing does. A RUN that fails says itself what
// it wanted, in its log.
func usernsHint(e *BuildError) string {
	if e.ExitCode != 0 {
		return ""
	}
	switch m := strings.ToLower(e.Err.Error()); {
	case strings.Contains(m, "lchown") && strings.Contains(m, "invalid argument"):
		return "without root there are only the ids that /etc/subuid and /etc/subgid give: give more there, or build this as root"
	case strings.HasSuffix(m, "operation not permitted"):
		return "without root no device node can be made: build this as root"
	}
	return ""
}
