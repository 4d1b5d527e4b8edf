package pins

import (
	"bytes"
	"slices"
	"strings"
)

// lookBack bounds what is read before a reference, in bytes: a file may be one line.
const lookBack = 512

// comment says that a line begins with # or //.
func (f *finder) comment(at int) bool {
	back := f.data[max(at-lookBack, 0):at]
	n := bytes.LastIndexByte(back, '\n')
	if n < 0 && at > lookBack {
		return false
	}
	line := bytes.TrimLeft(back[n+1:], " \t\ufeff")
	return bytes.HasPrefix(line, []byte("#")) || bytes.HasPrefix(line, []byte("//"))
}

// before returns what stands on the line before a reference, with the lines that it
// continues: \ and ` end those.
func (f *finder) before(at int) string {
	back := f.data[max(at-lookBack, 0):at]
	var parts []string // from the last
	for {
		n := bytes.LastIndexByte(back, '\n')
		parts = append(parts, string(back[n+1:]))
		if n < 0 {
			break
		}
		back = bytes.TrimRight(back[:n], " \t\r")
		if !bytes.HasSuffix(back, []byte(`\`)) && !bytes.HasSuffix(back, []byte("`")) {
			break
		}
		back = back[:len(back)-1]
	}
	slices.Reverse(parts)
	return strings.TrimPrefix(strings.Join(parts, " "), "\ufeff")
}

// context is what stands before a reference without tag and digest: without it,
// "stagex/core" may be a folder or an account.
var context = lazy(`(?i)((^|[ \t])FROM[ \t]+(--[a-z]+=\S+[ \t]+)*|from=|(image|container|base)["']?[ \t]*[:=][ \t]*["']?|^[ \t]*(ARG|ENV)[ \t]+\w+[= ]["']?|(docker|docker-image|oci|containers-storage)://|\b(docker|podman|nerdctl|buildah|skopeo|crane)[ \t][^|;&]*[ \t])$`)

// contextWords are those that context wants; looking for them takes less time.
var contextWords = []string{"from", "image", "container", "base", "arg", "env", "docker", "oci", "podman", "nerdctl", "buildah", "skopeo", "crane"}

// isImage says that what stands before a reference makes it one.
func (f *finder) isImage(at int) bool {
	before := strings.ToLower(f.before(at))
	return slices.ContainsFunc(contextWords, func(word string) bool { return strings.Contains(before, word) }) && context().MatchString(before)
}

// A value is what a variable is set to in a text.
type value struct {
	text    string
	at      []int // where it stands
	differs bool  // it is set to other values too
}

func (v value) one() bool { return len(v.at) > 0 && !v.differs }

const valueChars = `[A-Za-z0-9._:/@-]+`

var (
	// assignment is a default of ARG or ENV, or a line of an .env or YAML file.
	assignment = lazy(`(?m)^[ \t]*(?:(?i:ARG|ENV)[ \t]+)?["']?([A-Za-z_][A-Za-z0-9_]*)["']?[ \t]*(?::?=|:)[ \t]*["']?(` + valueChars + `)["']?[ \t\r]*,?(?:\\|#.*)?\r?$`)
	// pairs are those of an ARG, an ENV, or a line that continues one.
	pairs  = lazy(`(?mi)^[ \t]*(?:(?:ARG|ENV)[ \t]+)?(\w+=\S*(?:[ \t]+\w+=\S*)+)[ \t\r]*\\?\r?$`)
	pairOf = lazy(`^([A-Za-z_][A-Za-z0-9_]*)=["']?(` + valueChars + `)["']?$`)
)

func readValues(data []byte) map[string]value {
	all := map[string]value{}
	add := func(name string, from, to int) {
		v, text := all[name], string(data[from:to])
		v.differs = v.differs || len(v.at) > 0 && v.text != text
		if v.text = text; !v.differs {
			v.at = append(v.at, from)
		}
		all[name] = v
	}
	for _, m := range assignment().FindAllSubmatchIndex(data, -1) {
		add(string(data[m[2]:m[3]]), m[4], m[5])
	}
	for _, m := range pairs().FindAllSubmatchIndex(data, -1) {
		for at := m[2]; at < m[3]; {
			end := at
			for end < m[3] && data[end] != ' ' && data[end] != '\t' {
				end++
			}
			if p := pairOf().FindSubmatchIndex(data[at:end]); p != nil {
				add(string(data[at+p[2]:at+p[3]]), at+p[4], at+p[5])
			}
			at = end + 1
		}
	}
	return all
}

var variables = lazy(variable)

// expand replaces variables by their values. missing is one that has no value, or
// several; it stays.
func (f *finder) expand(text string) (expanded, missing string, several bool) {
	expanded = variables().ReplaceAllStringFunc(text, func(v string) string {
		is := f.valueOf(v, -1)
		if is.one() {
			return is.text
		}
		missing, several = v, len(is.at) > 0
		return v
	})
	return expanded, missing, several
}

// valueOf returns the value of "$NAME" or "${NAME}", or the one that "${NAME:-VALUE}"
// has for it if there is no other. at is where the variable stands, -1 if that is not of
// interest.
func (f *finder) valueOf(variable string, at int) value {
	name, inBraces := strings.CutPrefix(strings.TrimPrefix(variable, "$"), "{")
	if !inBraces {
		return f.values[name]
	}
	name = strings.TrimSuffix(name, "}")
	name, fallback, found := strings.Cut(name, ":-")
	if !found {
		name, fallback, found = strings.Cut(name, "-")
	}
	if v, ok := f.values[name]; ok || !found {
		return v
	}
	return value{text: fallback, at: []int{at + len("${"+name) + strings.Index(variable[len("${"+name):], fallback)}}
}
