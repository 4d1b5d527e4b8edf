package pins

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Pin is a reference in a text.
type Pin struct {
	Line, Column int    // from 1; the column in bytes
	Reference    string // as it is written, but for variables with a default in the text
	Output       string // "core-rust"
	Tag          string // "" for none
	Digest       string // 64 hexadecimal digits; "" for none
	Variable     string // that holds tag or digest, and has no default in the text

	from, to int // of the digits in the text
}

const (
	variable = `\$\{[^}\s]+\}|\$[A-Za-z_][A-Za-z0-9_]*`
	hostPart = `(?:(?:` + variable + `|[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?)/(?:[a-z0-9][a-z0-9._-]*/)*?)?`
)

// reference matches an image of StageX: host and folders, the output, a tag, a digest.
var reference = regexp.MustCompile(hostPart + `stagex/([a-z0-9][a-z0-9._-]*)` +
	`(:(?:[A-Za-z0-9._-]|` + variable + `)+)?` + `(@(?:sha256:)?(?:[A-Za-z0-9]+|` + variable + `))?`)

// digested matches any image by its digest: a mirror may call it as it likes.
var digested = regexp.MustCompile(`([A-Za-z0-9$_{][A-Za-z0-9$_{}./:-]*)@sha256:([0-9a-f]{64})`)

// assignment is a default of ARG or ENV, or a line of an .env file.
var assignment = regexp.MustCompile(`(?m)^[ \t]*(?:(?i:ARG|ENV)[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*[=:][ \t]*["']?([A-Za-z0-9._:-]+)["']?[ \t\r]*(?:#.*)?$`)

// context is what stands before a reference without tag and digest: without it, "stagex/core" may be a folder or an account.
var context = regexp.MustCompile(`(?i)((^|[ \t])FROM[ \t]+(--[a-z]+=\S+[ \t]+)*|from=|(image|container|base)["']?[ \t]*[:=][ \t]*["']?|^[ \t]*(ARG|ENV)[ \t]+\w+[= ]["']?|(docker|docker-image|oci|containers-storage)://|\b(docker|podman|nerdctl|buildah|skopeo|crane)[ \t][^|;&]*[ \t])$`)

// Find returns the references of a text in their order. Known says that a digest is one of StageX, whatever the image is
// called.
func Find(data []byte, known func(digits string) (output string, ok bool)) []Pin {
	f := finder{data: data, values: map[string][2]int{}}
	for _, m := range assignment.FindAllSubmatchIndex(data, -1) {
		if name := string(data[m[2]:m[3]]); f.values[name] == [2]int{} {
			f.values[name] = [2]int{m[4], m[5]}
		}
	}
	for _, m := range reference.FindAllSubmatchIndex(data, -1) {
		f.reference(m)
	}
	for _, m := range digested.FindAllSubmatchIndex(data, -1) {
		digits := string(data[m[4]:m[5]])
		if output, ok := known(digits); ok && !f.has(m[4]) && !wordAfter(data, m[5]) {
			f.add(Pin{Reference: string(data[m[0]:m[1]]), Output: output, Digest: digits, from: m[4], to: m[5]}, m[0])
		}
	}
	slices.SortFunc(f.pins, func(a, b Pin) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return f.pins
}

// A finder collects the pins of one text.
type finder struct {
	data   []byte
	values map[string][2]int // of variables: where their value stands
	pins   []Pin
}

func (f *finder) has(at int) bool {
	return slices.ContainsFunc(f.pins, func(p Pin) bool { return p.from == at && p.to > 0 })
}

func (f *finder) add(p Pin, at int) {
	start := bytes.LastIndexByte(f.data[:at], '\n') + 1
	p.Line, p.Column = bytes.Count(f.data[:start], []byte("\n"))+1, at-start+1
	f.pins = append(f.pins, p)
}

// reference takes a match of reference, if it is an image.
func (f *finder) reference(m []int) {
	data := f.data
	end := m[1]
	for m[4] < 0 && m[6] < 0 && strings.IndexByte(".-_", data[end-1]) >= 0 { // the end of a sentence
		end--
	}
	if !startsWord(data, m[0]) || wordAfter(data, end) {
		return
	}
	p := Pin{Output: string(data[m[2]:min(m[3], end)])}
	host, _, _ := strings.Cut(string(data[m[0]:m[2]]), "/")
	line := data[bytes.LastIndexByte(data[:m[0]], '\n')+1 : m[0]]
	if m[6] < 0 && (forge(host) || m[4] < 0 && !context.Match(line)) {
		return
	}
	p.Reference = string(data[m[0]:end])
	if m[4] >= 0 {
		p.Tag = f.tag(&p, strings.TrimRight(string(data[m[4]+1:m[5]]), ".-_"))
	}
	if m[6] >= 0 {
		f.digest(&p, m[6]+1, m[7])
	}
	f.add(p, m[0])
}

// forge says that a host has repositories of git, which look like images.
func forge(host string) bool {
	return slices.Contains([]string{"codeberg.org", "github.com", "gitlab.com", "git.stagex.tools", "www.github.com"}, strings.ToLower(host))
}

// startsWord says that a reference may begin there.
func startsWord(data []byte, at int) bool {
	if at == 0 {
		return true
	}
	if bytes.HasSuffix(data[:at], []byte("://")) {
		before := data[:at-3]
		return slices.ContainsFunc([]string{"docker", "docker-image", "oci", "docker-daemon", "containers-storage"}, func(scheme string) bool {
			return bytes.HasSuffix(before, []byte(scheme))
		})
	}
	return strings.IndexByte(" \t\r\n\"'`=([{<>,;|-", data[at-1]) >= 0 && !(data[at-1] == '-' && at > 1 && data[at-2] != ':') ||
		data[at-1] == ':' && bytes.HasSuffix(data[:at], []byte("image:"))
}

// wordAfter says that what was matched goes on.
func wordAfter(data []byte, at int) bool {
	if at >= len(data) {
		return false
	}
	c := data[at]
	return c == '/' || c == '@' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '{' || c == '*'
}

// tag resolves a tag that is one variable.
func (f *finder) tag(p *Pin, text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	if at, ok := f.value(text); ok {
		return string(f.data[at[0]:at[1]])
	}
	p.Variable = text
	return text
}

// value returns where the value of "${NAME}" or "$NAME" stands.
func (f *finder) value(text string) (at [2]int, ok bool) {
	name := strings.TrimPrefix(text, "$")
	name = strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}")
	name, _, _ = strings.Cut(name, ":-")
	at, ok = f.values[name]
	return at, ok
}

// digest takes what stands behind the @.
func (f *finder) digest(p *Pin, from, to int) {
	text := string(f.data[from:to])
	bare := strings.TrimPrefix(text, "sha256:")
	from += len(text) - len(bare)
	if strings.HasPrefix(bare, "$") {
		at, ok := f.value(bare)
		if !ok {
			p.Variable = bare
			return
		}
		from, to = at[0], at[1]
		value := string(f.data[from:to])
		bare = strings.TrimPrefix(value, "sha256:")
		from += len(value) - len(bare)
	}
	p.Digest, p.from, p.to = bare, from, to
}

// String is "12:6: stagex/core-rust@sha256:…".
func (p Pin) String() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Reference) }
