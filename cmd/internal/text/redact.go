package text

import (
	"regexp"
	"strings"
	"sync"
)

// redacted stands for what Redact hides.
const redacted = "xxxxx"

// Redact hides what may be secret in the URLs of a text: the user, password or token before
// the host, also where it is not escaped as it should be, and the query, which may be a
// signature. The user of an ssh address stays, if there is no password. A text that is no
// URL stays as it is.
func Redact(s string) string {
	var b strings.Builder
	at := 0
	starts := urlStart().FindAllStringIndex(s, -1)
	for i, start := range starts {
		end := len(s)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if n := strings.IndexAny(s[start[1]:end], " \t\n\"'<>"); n >= 0 {
			end = start[1] + n
		}
		for s[end-1] == ',' {
			end--
		}
		b.WriteString(s[at:start[0]] + redactURL(s[start[0]:end]))
		at = end
	}
	return b.String() + s[at:]
}

// urlStart matches the scheme of a URL. What follows need not be what net/url can parse.
var urlStart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://`) })

func redactURL(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	at := strings.LastIndexByte(host, '@')
	if at < 0 && strayPassword(host) {
		if later := strings.LastIndexByte(path, '@'); later >= 0 {
			host, path = host+path[:later+1], path[later+1:]
			at = len(host) - 1
		}
	}
	if at >= 0 && !(scheme == "ssh" && !strings.Contains(host[:at], ":")) {
		host = redacted + host[at:]
	}
	if q := strings.IndexByte(path, '?'); q >= 0 {
		path = path[:q+1] + redacted
	}
	return scheme + "://" + host + path
}

// strayPassword reports whether what stands for host and port has no number for a port, as
// if a password with a slash had been cut.
func strayPassword(host string) bool {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.HasSuffix(host, "]") {
		return false
	}
	return strings.Trim(host[colon+1:], "0123456789") != ""
}
