package text

import (
	"fmt"
	"unicode/utf8"
)

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
