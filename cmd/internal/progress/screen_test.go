package progress_test

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// screen is as much of a terminal as a Display needs, with the lines that
// scrolled away. Like most, it wraps a line only when a character would stand
// beyond the last column, and wraps lines anew when it is resized.
type screen struct {
	t             *testing.T
	mu            sync.Mutex // of width and height
	width, height int
	rows          []screenRow // all, from the first ever written
	y, x          int         // y counts from the first row ever
}

// screenRow is a row; it is wrapped when the next one continues its line.
type screenRow struct {
	text    []rune
	wrapped bool
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: make([]screenRow, 1)}
}

// size is Options.Size.
func (s *screen) size() (int, int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width, s.height, true
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9]*)([A-Za-z])`)

func (s *screen) write(out string) {
	for len(out) > 0 {
		if m := sequence.FindStringSubmatch(out); m != nil {
			s.control(m[1], m[2])
			out = out[len(m[0]):]
			continue
		}
		r, n := utf8.DecodeRuneInString(out)
		out = out[n:]
		switch {
		case r == '\r':
			s.x = 0
		case r == '\n':
			s.down(false)
		case r < ' ' || r == 0x7f:
			s.t.Fatalf("unknown control character in %q", string(r)+out)
		default:
			s.put(r)
		}
	}
}

func (s *screen) put(r rune) {
	if s.x == s.width {
		s.down(true)
	}
	text := &s.rows[s.y].text
	for len(*text) <= s.x {
		*text = append(*text, ' ')
	}
	(*text)[s.x] = r
	s.x++
}

func (s *screen) down(wrapped bool) {
	s.rows[s.y].wrapped = wrapped
	if s.y++; s.y == len(s.rows) {
		s.rows = append(s.rows, screenRow{})
	}
	s.x = 0
}

func (s *screen) control(arg, what string) {
	switch n, _ := strconv.Atoi(arg); what {
	case "A":
		top := max(len(s.rows)-s.height, 0)
		s.y = max(s.y-max(n, 1), top)
	case "J":
		s.rows = s.rows[:s.y+1]
		s.clear()
	case "K":
		if s.clear(); arg == "2" {
			s.rows[s.y] = screenRow{}
		}
	case "m":
	default:
		s.t.Fatalf("unknown sequence CSI %s %s", arg, what)
	}
}

// clear removes what stands at the cursor and after it, also the last character
// of a full row.
func (s *screen) clear() {
	row := &s.rows[s.y]
	row.text, row.wrapped = row.text[:min(s.x, len(row.text), s.width-1)], false
}

// resize wraps all lines anew. The cursor must be in an empty last row.
func (s *screen) resize(width, height int) {
	var rows []screenRow
	var text []rune
	for _, row := range s.rows {
		if text = append(text, row.text...); row.wrapped {
			continue
		}
		for ; len(text) > width; text = text[width:] {
			rows = append(rows, screenRow{text[:width:width], true})
		}
		rows, text = append(rows, screenRow{text, false}), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width, s.height, s.rows = width, height, rows
	s.y = len(rows) - 1
}

// text is all that was ever shown and not painted over, without blanks at the
// ends of rows.
func (s *screen) text() string {
	var b strings.Builder
	for i, row := range s.rows {
		if last := i == len(s.rows)-1; !last || len(row.text) > 0 {
			b.WriteString(strings.TrimRight(string(row.text), " ") + "\n")
		}
	}
	return b.String()
}
