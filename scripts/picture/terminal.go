package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A cell is a character with the class that colours it: a digit of SGR ("2" for green),
// "b" before it if it is bold; "" for plain text.
type cell struct {
	r     rune
	class string
}

// A frame is what the terminal shows from a moment on.
type frame struct {
	at   float64 // seconds
	rows [][]cell
}

// play returns the frames of a recording: output as script wrote it, and its times, lines
// of "seconds bytes". Frames closer than a tenth of a second are one.
func play(output, timing []byte) ([]frame, error) {
	if _, after, ok := bytes.Cut(output, []byte("\n")); ok && bytes.HasPrefix(output, []byte("Script started")) {
		output = after
	}
	if i := bytes.LastIndex(output, []byte("\nScript done")); i >= 0 {
		output = output[:i]
	}
	t := &terminal{rows: make([][]cell, 1)}
	t.typed("$ " + command)
	frames := []frame{{rows: t.shown()}}
	now := 0.8 // seconds that the command stands there before it runs
	for line := range strings.Lines(string(timing)) {
		var wait float64
		var n int
		if _, err := fmt.Sscan(line, &wait, &n); err != nil {
			return nil, fmt.Errorf("timing %q: %w", line, err)
		}
		now += min(wait, 2)
		n = min(n, len(output))
		if err := t.write(output[:n]); err != nil {
			return nil, err
		}
		output = output[n:]
		if last := &frames[len(frames)-1]; len(frames) > 1 && now-last.at < 0.1 {
			last.rows = t.shown()
		} else {
			frames = append(frames, frame{now, t.shown()})
		}
	}
	return frames, nil
}

// terminal is as much of one as sx needs: see the tty display in cmd/internal/progress.
type terminal struct {
	rows  [][]cell // all, from the first ever written
	y, x  int
	class string
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9;]*)([A-Za-z])`)

func (t *terminal) typed(line string) {
	for _, r := range line {
		t.put(r)
	}
	t.y, t.x = 1, 0
	t.rows = append(t.rows, nil)
}

func (t *terminal) write(out []byte) error {
	for len(out) > 0 {
		if m := sequence.FindSubmatch(out); m != nil {
			if err := t.control(string(m[1]), string(m[2])); err != nil {
				return err
			}
			out = out[len(m[0]):]
			continue
		}
		r, n := utf8.DecodeRune(out)
		switch {
		case r == '\r':
			t.x = 0
		case r == '\n':
			t.down()
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			return fmt.Errorf("unknown control character at %q", out[:min(len(out), 20)])
		default:
			t.put(r)
		}
		out = out[n:]
	}
	return nil
}

func (t *terminal) put(r rune) {
	if t.x == width {
		t.down()
	}
	row := &t.rows[t.y]
	for len(*row) <= t.x {
		*row = append(*row, cell{r: ' '})
	}
	(*row)[t.x] = cell{r, t.class}
	t.x++
}

func (t *terminal) down() {
	if t.y++; t.y == len(t.rows) {
		t.rows = append(t.rows, nil)
	}
	t.x = 0
}

func (t *terminal) control(args, what string) error {
	n, _ := strconv.Atoi(args)
	switch what {
	case "A":
		t.y = max(t.y-max(n, 1), len(t.rows)-height, 0)
	case "J":
		t.rows = t.rows[:t.y+1]
		t.rows[t.y] = t.rows[t.y][:min(t.x, len(t.rows[t.y]))]
	case "K":
		if n == 2 {
			t.rows[t.y] = nil
		} else {
			t.rows[t.y] = t.rows[t.y][:min(t.x, len(t.rows[t.y]))]
		}
	case "m":
		t.class = ""
		for _, arg := range strings.Split(args, ";") {
			switch n, _ := strconv.Atoi(arg); {
			case n == 1:
				t.class = "b" + t.class
			case n > 30 && n < 38:
				t.class += strconv.Itoa(n - 30)
			}
		}
	default:
		return fmt.Errorf("unknown sequence CSI %s%s", args, what)
	}
	return nil
}

// shown is a copy of the rows that are on the screen.
func (t *terminal) shown() [][]cell {
	rows := t.rows[max(len(t.rows)-height, 0):]
	all := make([][]cell, len(rows))
	for i, row := range rows {
		all[i] = append([]cell(nil), row...)
	}
	return all
}
