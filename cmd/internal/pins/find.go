package pins

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Pin is a reference in a text.
type Pin struct {
	Line, Column int      // from 1; the column in bytes
	Reference    string   // as it is written
	Output       string   // "core-rust"; as it is written if it is a variable without a value
	Also         []string // other outputs of the same digest, if the reference names none of them
	Tag          string   // "" for none
	Digest       string   // 64 hexadecimal digits; "" for none
	Variable     string   // in output, tag or digest, that has not one value in the text
	Several      bool     // it has several

	at       int    // of the reference in the text
	from, to int    // of the digits in the text; to is 0 if there are none
	copies   []int  // where else they stand: a variable may be set twice
	names    string // last component of the reference, if that is not of stagex/
}

const (
	variable = `\$\{[^}\s]+\}|\$[A-Za-z_][A-Za-z0-9_]*`
	hostPart = `(?:(?:` + variable + `|[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?)/(?:[a-z0-9][a-z0-9._-]*/)*?)?`
)

// reference matches an image of StageX: host and folders, or a variable that may hold
// them; the output; a tag; a digest.
var reference = lazy(`(` + hostPart + `stagex/|(?:` + variable + `)/)` +
	`((?:[a-z0-9]|` + variable + `)(?:[a-z0-9._-]|` + variable + `)*)` +
	`(:(?:[A-Za-z0-9._-]|` + variable + `)+)?` + `(@(?:sha256:)?(?:[A-Za-z0-9]+|` + variable + `))?`)

// digested matches any image by its digest: a mirror may call it as it likes.
var digested = lazy(`([A-Za-z0-9$_{][A-Za-z0-9$_{}./:-]*)@sha256:([0-9a-f]{64})`)

// Find returns the references of a text in their order. Lines that begin with # or //
// are comments, and hold none. Known returns the outputs of a digest, whatever the image
// is called.
func Find(data []byte, known func(digits string) []string) []Pin {
	f := finder{data: data, values: readValues(data), found: map[int]bool{}}
	for _, m := range reference().FindAllSubmatchIndex(data, -1) {
		f.reference(m)
	}
	for _, m := range digested().FindAllSubmatchIndex(data, -1) {
		digits := string(data[m[4]:m[5]])
		if !f.found[m[4]] && !wordAfter(data, m[5]) && !f.comment(m[0]) && len(known(digits)) > 0 {
			f.add(Pin{Reference: string(data[m[0]:m[1]]), Digest: digits, from: m[4], to: m[5], at: m[0], names: lastName(string(data[m[2]:m[3]]))})
		}
	}
	for i := range f.pins {
		if p := &f.pins[i]; p.names != "" {
			p.name(known(p.Digest))
		}
	}
	f.count()
	return f.pins
}

// A finder collects the pins of one text.
type finder struct {
	data   []byte
	values map[string]value // of variables
	pins   []Pin
	found  map[int]bool // where the digits of pins begin
}

func (f *finder) add(p Pin) {
	if p.to > 0 {
		f.found[p.from] = true
	}
	f.pins = append(f.pins, p)
}

// count sorts the pins, and gives them lines and columns.
func (f *finder) count() {
	slices.SortStableFunc(f.pins, func(a, b Pin) int { return a.at - b.at })
	line, start, at := 1, 0, 0
	for i := range f.pins {
		p := &f.pins[i]
		between := f.data[at:p.at]
		line += bytes.Count(between, []byte("\n"))
		if n := bytes.LastIndexByte(between, '\n'); n >= 0 {
			start = at + n + 1
		}
		p.Line, p.Column, at = line, p.at-start+1, p.at
	}
}

// name takes the output of a digest that the reference means, or the first.
func (p *Pin) name(outputs []string) {
	if len(outputs) == 0 {
		return
	}
	for _, o := range outputs {
		if o == p.names || strings.HasSuffix(o, "-"+p.names) {
			p.Output = o
			return
		}
	}
	p.Output, p.Also = outputs[0], outputs[1:]
}

// lastName returns "b" for "host/a/b:tag".
func lastName(image string) string {
	name, _, _ := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	return name
}

// reference takes a match of reference, if it is an image.
func (f *finder) reference(m []int) {
	data := f.data
	end := m[1]
	for m[6] < 0 && m[8] < 0 && strings.IndexByte(".-_", data[end-1]) >= 0 { // the end of a sentence
		end--
	}
	if end <= m[4] || !startsWord(data, m[0]) || wordAfter(data, end) || f.comment(m[0]) {
		return
	}
	where := string(data[m[2]:m[3]])
	if !strings.HasSuffix(where, "stagex/") {
		if host, _, _ := f.expand(strings.TrimSuffix(where, "/")); host != "stagex" && !strings.HasSuffix(host, "/stagex") {
			return
		}
	}
	p := Pin{Reference: string(data[m[0]:end]), at: m[0]}
	written := string(data[m[4]:min(m[5], end)])
	p.Output = f.resolve(&p, written)
	host, _, _ := strings.Cut(where, "/")
	bare := m[6] < 0 || p.Variable != ""
	if m[8] < 0 && (forge(host) || bare && !f.isImage(m[0])) {
		return
	}
	if p.Variable != "" {
		p.names = written // its digest may tell the output
	}
	if m[6] >= 0 {
		p.Tag = f.resolve(&p, strings.TrimRight(string(data[m[6]+1:m[7]]), ".-_"))
	}
	if m[8] >= 0 {
		f.digest(&p, m[8]+1, m[9])
	}
	f.add(p)
}

// resolve expands a text of p.
func (f *finder) resolve(p *Pin, text string) string {
	text, missing, several := f.expand(text)
	if missing != "" {
		p.Variable, p.Several = missing, several
	}
	return text
}

// digest takes what stands behind the @.
func (f *finder) digest(p *Pin, from, to int) {
	text := string(f.data[from:to])
	bare := strings.TrimPrefix(text, "sha256:")
	from += len(text) - len(bare)
	if !strings.HasPrefix(bare, "$") {
		p.Digest, p.from, p.to = bare, from, to
		return
	}
	v := f.valueOf(bare, from)
	if !v.one() {
		p.Variable, p.Several = bare, len(v.at) > 0
		return
	}
	p.Digest = strings.TrimPrefix(v.text, "sha256:")
	prefix := len(v.text) - len(p.Digest)
	for i, at := range v.at {
		if i == 0 {
			p.from, p.to = at+prefix, at+len(v.text)
			continue
		}
		p.copies = append(p.copies, at+prefix)
	}
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

// String is "12:6: stagex/core-rust@sha256:…".
func (p Pin) String() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Reference) }
