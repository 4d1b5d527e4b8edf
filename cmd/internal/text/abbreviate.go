package text

import (
	"strings"
)

// Abbreviate shortens a hash or a digest as git and docker do.
func Abbreviate(s string) string {
	prefix := ""
	if rest, ok := strings.CutPrefix(s, "sha256:"); ok {
		prefix, s = "sha256:", rest
	}
	if len(s) > 12 {
		s = s[:12] + "…"
	}
	return OrNone(prefix + s)
}

func OrNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
