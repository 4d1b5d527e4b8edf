package doctor

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// State is how a line ended.
type State string

// The states.
const (
	OK    State = "ok"
	Limit State = "limit" // sx builds, but something of it does not work, or works worse
	Stop  State = "stop"  // sx cannot build
)

// Line is what was found about one thing. It is printed as JSON, and only gains fields.
type Line struct {
	Name   string `json:"name"` // a word or two
	State  State  `json:"state"`
	Found  string `json:"found"`            // in words
	Remedy string `json:"remedy,omitempty"` // what to type or to do, unless it is ok
}

func ok(name, format string, args ...any) Line {
	return Line{Name: name, State: OK, Found: fmt.Sprintf(format, args...)}
}

func limit(name, remedy, format string, args ...any) Line {
	return Line{Name: name, State: Limit, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func stop(name, remedy, format string, args ...any) Line {
	return Line{Name: name, State: Stop, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// stopped is the line of an error. Those of engines have a remedy of their own.
func stopped(name, remedy string, err error) Line {
	var unfit *buildkit.UnfitError
	var engine *buildkit.EngineError
	switch {
	case errors.As(err, &unfit):
		return Line{name, Stop, unfit.Problem, unfit.Remedy}
	case errors.As(err, &engine):
		return Line{name, Stop, engine.Problem, engine.Remedy}
	case errors.Is(err, syscall.ENOSPC):
		remedy = `free some space, see the line "disk"`
	}
	return Line{name, Stop, err.Error(), remedy}
}

// Stops counts the lines that keep sx from building.
func Stops(lines []Line) (n int) {
	for _, l := range lines {
		if l.State == Stop {
			n++
		}
	}
	return n
}

// Print writes a line, and below it what to do.
func (l Line) Print(w io.Writer, paint func(State) string) {
	fmt.Fprintf(w, "%s%*s  %-13s %s\n", paint(l.State), len("limit")-len(l.State), "", l.Name, text.Field(l.Found))
	if l.Remedy != "" {
		fmt.Fprintf(w, "%22s-> %s\n", "", text.Field(l.Remedy))
	}
}
