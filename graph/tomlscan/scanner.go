package tomlscan

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// scanner scans valid TOML, and stops at the first error, which the decoder then reports.
type scanner struct {
	data   []byte
	at     int
	line   int
	file   *File
	err    *Error // a limit that is exceeded
	values int
	paths  int
	// odd: a key is not bare, is dotted before "=", or is named twice other than in the
	// path of a header. Then only the decoder knows the values, see plainValues.
	odd bool
}

// scan reports whether it stopped before the end.
func (s *scanner) scan() (stopped bool) {
	if len(s.data) > MaxSize {
		s.line += bytes.Count(s.data[:MaxSize], []byte("\n"))
		s.refuse("larger than %d bytes", MaxSize)
		return true
	}
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} { // the decoder skips them
		if bytes.HasPrefix(s.data, []byte(mark)) {
			s.at = len(mark)
			s.newer("a byte order mark")
			break
		}
	}
	table := &s.file.top
	for {
		s.blanks(true)
		if s.at == len(s.data) {
			return false
		}
		ok := true
		if s.data[s.at] == '[' {
			table, ok = s.header()
		} else {
			ok = s.pair(table, 0)
		}
		if !ok || s.err != nil {
			return true
		}
		if s.blanks(false); s.at < len(s.data) && s.data[s.at] != '\n' {
			return true
		}
	}
}

func (s *scanner) refuse(format string, args ...any) bool {
	if s.err == nil {
		s.err = &Error{Line: s.line, Err: fmt.Errorf(format, args...)}
	}
	return false
}

func (s *scanner) newer(what string) {
	s.file.Newer = append(s.file.Newer, Note{s.line, what})
}

// endOfLine returns where the current line ends, before its newline.
func (s *scanner) endOfLine() int {
	if i := bytes.IndexByte(s.data[s.at:], '\n'); i >= 0 {
		return s.at + i
	}
	return len(s.data)
}

// blanks skips spaces and a comment and, with lines, newlines too. It reports whether it
// skipped a newline.
func (s *scanner) blanks(lines bool) (newline bool) {
	for ; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case ' ', '\t', '\r':
		case '#':
			s.at = s.endOfLine() - 1
		case '\n':
			if !lines {
				return newline
			}
			s.line++
			newline = true
		default:
			return newline
		}
	}
	return newline
}

// take skips text if it comes next.
func (s *scanner) take(text string) bool {
	if !bytes.HasPrefix(s.data[s.at:], []byte(text)) {
		return false
	}
	s.at += len(text)
	return true
}

// header parses "[a.b]" or "[[a.b]]".
func (s *scanner) header() (*Key, bool) {
	start, end, before := s.at, "]", len(s.file.Keys)
	if s.take("["); s.take("[") {
		end, s.odd = "]]", true
	}
	k, ok := s.key(&s.file.top, 0)
	s.odd = s.odd || len(s.file.Keys) == before
	if !ok || !s.take(end) {
		return k, false
	}
	k.Header = Span{start, s.at}
	return k, true
}

// pair parses "key = value".
func (s *scanner) pair(table *Key, depth int) bool {
	before := len(s.file.Keys)
	k, ok := s.key(table, depth)
	if !ok || !s.take("=") {
		return false
	}
	s.odd = s.odd || len(s.file.Keys) == before || k.parent != table
	s.blanks(false)
	start := s.at
	ok = s.value(k, depth+1)
	k.Value = Span{start, s.at}
	return ok
}

// key parses a dotted key below table, and the spaces after it.
func (s *scanner) key(table *Key, depth int) (*Key, bool) {
	k := table
	for {
		s.blanks(false)
		name, ok := s.name()
		if !ok {
			return nil, false
		}
		k = s.add(k, name)
		if k.depth+depth > maxDepth {
			return nil, s.refuse("more than %d tables and lists in one another", maxDepth)
		}
		if s.blanks(false); !s.take(".") {
			break
		}
	}
	for up := k; up.parent != nil; up = up.parent {
		s.paths += len(up.Name) + 1
	}
	if s.paths > maxPaths {
		return nil, s.refuse("its keys hold more than %d bytes", maxPaths)
	}
	return k, s.count()
}

func (s *scanner) add(k *Key, name string) *Key {
	if have := k.below[name]; have != nil {
		return have
	}
	if k.below == nil {
		k.below = map[string]*Key{}
	}
	k.below[name] = &Key{Name: name, Line: s.line, parent: k, depth: k.depth + 1}
	s.file.Keys = append(s.file.Keys, k.below[name])
	return k.below[name]
}

// count counts a key or an element, and checks the limit.
func (s *scanner) count() bool {
	if s.values++; s.values > maxValues {
		return s.refuse("more than %d keys and elements of lists", maxValues)
	}
	return true
}

// afterBare ends a bare key. What else the decoder refuses in one it reports.
const afterBare = " \t\n\f\r=.[]{}\"'#,"

func (s *scanner) name() (string, bool) {
	if s.at == len(s.data) {
		return "", false
	}
	if c := s.data[s.at]; c == '"' || c == '\'' {
		s.odd = true
		return s.text(c, false)
	}
	name := s.data[s.at:s.endOfLine()]
	if end := bytes.IndexAny(name, afterBare); end >= 0 {
		name = name[:end]
	}
	s.odd = s.odd || bytes.ContainsFunc(name, notBare)
	s.at += len(name)
	return string(name), len(name) > 0 && s.fits(len(name))
}

// notBare reports whether TOML 1.0 has no such character in a bare key.
func notBare(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
}

func (s *scanner) fits(n int) bool {
	if n > maxText {
		return s.refuse("a key, a text or a number of more than %d bytes", maxText)
	}
	return true
}

// value parses the value of k, or an element of it at any depth.
func (s *scanner) value(k *Key, depth int) bool {
	if s.at == len(s.data) {
		return false
	}
	if k.depth+depth > maxDepth {
		return s.refuse("more than %d tables and lists in one another", maxDepth)
	}
	switch c := s.data[s.at]; c {
	case '"', '\'':
		if s.take(strings.Repeat(string(c), 3)) {
			return s.lines(c)
		}
		_, ok := s.text(c, true)
		return ok
	case '[':
		return s.list(k, depth)
	case '{':
		return s.table(k, depth)
	}
	return s.bare()
}

func (s *scanner) list(k *Key, depth int) bool {
	s.take("[")
	for {
		if s.blanks(true); s.take("]") {
			return true
		}
		if !s.count() || !s.value(k, depth+1) {
			return false
		}
		if s.blanks(true); !s.take(",") {
			return s.take("]")
		}
	}
}

// table parses an inline table, which TOML 1.0 allows on one line only.
func (s *scanner) table(k *Key, depth int) bool {
	s.take("{")
	for first := true; ; first = false {
		if s.blanks(true) {
			s.newer("an inline table of several lines")
		}
		if s.take("}") {
			if !first {
				s.newer("a comma before the end of an inline table")
			}
			return true
		}
		if !s.pair(k, depth) {
			return false
		}
		if s.blanks(true) {
			s.newer("an inline table of several lines")
		}
		if !s.take(",") {
			return s.take("}")
		}
	}
}

var shortTime = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(^|[T ])[0-9]{2}:[0-9]{2}([^:0-9]|$)`) })

// bare parses a number, a boolean or a time.
func (s *scanner) bare() bool {
	n := bytes.IndexAny(s.data[s.at:s.endOfLine()], ",]}#\r")
	if n < 0 {
		n = s.endOfLine() - s.at
	}
	text := bytes.TrimRight(s.data[s.at:s.at+n], " \t")
	s.at += len(text)
	if !s.fits(len(text)) || len(text) == 0 {
		return false
	}
	if shortTime().Match(text) {
		s.newer("a time without seconds")
	}
	return true
}

// text parses a text in quotes, on one line.
func (s *scanner) text(quote byte, value bool) (string, bool) {
	start := s.at
	for s.at++; s.at < len(s.data) && s.data[s.at] != '\n'; s.at++ {
		switch c := s.data[s.at]; {
		case c == quote:
			s.at++
			text := string(s.data[start:s.at])
			switch {
			case !s.fits(len(text)):
				return "", false
			case quote == '\'':
				return text[1 : len(text)-1], true
			}
			return unescape(text[1 : len(text)-1]), true
		case c == '\\' && quote == '"':
			s.escape()
		}
	}
	return "", s.fits(s.at-start) && false
}

// escape skips the character after a backslash.
func (s *scanner) escape() {
	if s.at+1 < len(s.data) && s.data[s.at+1] != '\n' {
		if s.at++; s.data[s.at] == 'e' || s.data[s.at] == 'x' {
			s.newer(fmt.Sprintf(`the escape \%c`, s.data[s.at]))
		}
	}
}

// lines parses a text of several lines, after its opening quotes.
func (s *scanner) lines(quote byte) bool {
	start, end := s.at, strings.Repeat(string(quote), 3)
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '\n':
			s.line++
		case c == '\\' && quote == '"':
			s.escape()
		case c == quote && s.take(end):
			for i := 0; i < 2 && s.at < len(s.data) && s.data[s.at] == quote; i++ {
				s.at++ // the text may end in two quotes
			}
			return s.fits(s.at - start)
		}
	}
	return s.fits(s.at-start) && false
}

var escapes = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)`)
})

var escaped = map[byte]string{'b': "\b", 't': "\t", 'n': "\n", 'f': "\f", 'r': "\r", 'e': "\x1b"}

// unescape decodes a text in double quotes as the decoder does.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	return escapes().ReplaceAllStringFunc(text, func(e string) string {
		if code, err := strconv.ParseUint(e[2:], 16, 32); err == nil && len(e) > 2 {
			return string(utf8.AppendRune(nil, rune(code)))
		}
		if c, ok := escaped[e[1]]; ok {
			return c
		}
		return e[1:]
	})
}
