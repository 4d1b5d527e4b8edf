package progress

import (
	"io"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
)

// colour is an SGR sequence; none for the terminal's own.
type colour string

const (
	none   colour = ""
	bold   colour = "\x1b[1m"
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	reset         = "\x1b[0m"
)

// printer writes lines that stay.
type printer struct {
	w      io.Writer
	colour bool
}

// paint is s in a colour, if there are any.
func (p *printer) paint(s string, c colour) string {
	if !p.colour || c == none || s == "" {
		return s
	}
	return string(c) + s + reset
}

// print writes the lines that matter enough, in one Write.
func (p *printer) print(all []line, least weight) {
	var b strings.Builder
	for _, l := range all {
		if l.weight >= least {
			b.WriteString(p.paint(l.text, l.colour) + "\n")
		}
	}
	if b.Len() > 0 {
		io.WriteString(p.w, b.String())
	}
}

// quiet shows failures and warnings.
type quiet struct{ printer }

var _ view = (*quiet)(nil)

func (v *quiet) show(e events.Event)   { v.print(words(e), trouble) }
func (v *quiet) tick(time.Time)        {}
func (v *quiet) period() time.Duration { return 0 }
func (v *quiet) close()                {}
