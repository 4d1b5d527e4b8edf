// Package text makes text that sx did not write harmless to show: names and fields of a tree, messages of a server, logs
// of a build. After it no byte can move the cursor, change a colour, hide or reorder characters, begin a line of its own
// or speak to the CI system that reads the output, so a build cannot paint a MATCH.
//
// It escapes and never deletes: what was there stays readable, as `\x1b` or `\u202e`. It does not judge what the words
// say, and it does not make text safe for a shell, HTML or Markdown.
//
// Start at Field for one value inside a line, Lines for a message of several lines, LogWriter for a stream.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Field returns s as one harmless line. Line breaks and tabs come out as `\n`, `\r`, `\t`, other characters that do not
// print as `\x1b`, `\u202e` or `\U000e0041`, bytes that are no UTF-8 as `\xff`. CI command prefixes are broken by a
// backslash. A backslash in s stays as it is, so that Field(Field(s)) == Field(s). Of what would have more than 4 KiB, the
// middle is left out.
func Field(s string) string {
	return Shorten(disarm(escape(Shorten(s, 4*maxField), false)), maxField)
}

// Lines returns s as harmless lines: as Field, but line feeds divide lines, "\r\n" counts as one, and tabs stay.
func Lines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if i < len(lines)-1 {
			line = strings.TrimSuffix(line, "\r")
		}
		lines[i] = logLine(line)
	}
	return strings.Join(lines, "\n")
}

// logLine makes one line harmless, given without its line end; tabs stay.
func logLine(s string) string {
	return disarm(escape(s, true))
}

// escape writes out what does not show as itself.
func escape(s string, tabs bool) string {
	if clean(s, tabs) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if shown(r, n, tabs) {
			b.WriteString(s[:n])
		} else {
			writeEscape(&b, r, s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// clean reports that escape has nothing to do, which is nearly always so.
func clean(s string, tabs bool) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !shown(r, n, tabs) {
			return false
		}
		i += n
	}
	return true
}

// shown reports that a terminal shows r, n bytes long, as one visible character or a blank. unicode.IsPrint already leaves
// out control characters, bidi marks, zero-width joiners, line separators, tag characters and every blank but the space;
// the other two sets are letters and marks that are nevertheless invisible (Hangul fillers, variation selectors).
func shown(r rune, n int, tabs bool) bool {
	switch {
	case r == utf8.RuneError && n <= 1:
		return false
	case r >= ' ' && r < 0x7f:
		return true
	case r == '\t':
		return tabs
	}
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func writeEscape(b *strings.Builder, r rune, raw string) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case len(raw) == 1:
		fmt.Fprintf(b, `\x%02x`, raw[0])
	case r > 0xffff:
		fmt.Fprintf(b, `\U%08x`, r)
	default:
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// maxField bounds what [Field] returns, in bytes: a line of a message is read by a
// person.
const maxField = 4 << 10

// Shorten returns s, or its beginning and its end where it has more than limit bytes
// (at least 64), and between them how many are left out: the reason often stands last.
// What it returns never has more than limit bytes.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	gap := fmt.Sprintf(" … [%d bytes] … ", len(s))
	keep := limit - len(gap)
	head, tail := keep*2/3, keep/3
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	from := len(s) - tail
	for from < len(s) && !utf8.RuneStart(s[from]) {
		from++
	}
	return s[:head] + fmt.Sprintf(" … [%d bytes] … ", from-head) + s[from:]
}
