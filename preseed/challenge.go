package preseed

import (
	"net/http"
	"strings"
)

// challenge is one authentication scheme that a server accepts (RFC 9110, 11.6).
type challenge struct {
	scheme string            // in lower case: "bearer", "basic"
	params map[string]string // by name in lower case
}

// maxChallenge is how many bytes of a header are read.
const maxChallenge = 16 << 10

// parseChallenges parses all WWW-Authenticate headers. Each is a list of schemes with
// parameters, all separated by commas. It skips what it cannot parse.
func parseChallenges(h http.Header) (all []challenge) {
	for _, line := range h.Values("WWW-Authenticate") {
		for rest := line[:min(len(line), maxChallenge)]; rest != ""; {
			rest = strings.TrimLeft(rest, " \t,")
			var word string
			word, rest = cutToken(rest)
			after := strings.TrimLeft(rest, " \t")
			value, isParam := strings.CutPrefix(after, "=")
			switch {
			case word == "":
				rest = rest[min(len(rest), 1):] // not the start of a token
			case !isParam:
				all = append(all, challenge{strings.ToLower(word), map[string]string{}})
			case len(all) > 0:
				var text string
				text, rest = cutValue(strings.TrimLeft(value, " \t"))
				if _, twice := all[len(all)-1].params[strings.ToLower(word)]; !twice {
					all[len(all)-1].params[strings.ToLower(word)] = text
				}
			default:
				_, rest = cutValue(value)
			}
		}
	}
	return all
}

// cutToken cuts a token (RFC 9110, 5.6.2), or a token68, which looks like one here.
func cutToken(s string) (token, rest string) {
	end := strings.IndexAny(s, " \t,=\"")
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// cutValue cuts a token or a quoted string, which may be empty.
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// find returns the challenge of a scheme.
func find(all []challenge, scheme string) (challenge, bool) {
	for _, c := range all {
		if c.scheme == scheme {
			return c, true
		}
	}
	return challenge{}, false
}

// schemes lists the schemes of challenges, for a message.
func schemes(all []challenge) string {
	var names []string
	for _, c := range all {
		names = append(names, shorten(c.scheme))
	}
	return shorten(strings.Join(names, ", "))
}
