package progress

import (
	"fmt"
	"slices"
	"strings"
)

// Mode is how progress is shown. The zero Mode is what BUILDKIT_PROGRESS says,
// or auto.
type Mode string

// The modes.
const (
	Auto    Mode = "auto" // tty on a terminal that can do it and outside of CI, else plain
	Plain   Mode = "plain"
	TTY     Mode = "tty"
	RawJSON Mode = "rawjson"
	Quiet   Mode = "quiet"
)

var modes = []Mode{Auto, Plain, TTY, RawJSON, Quiet}

// envMode is the variable that buildctl and docker read too.
const envMode = "BUILDKIT_PROGRESS"

// ParseMode reads a mode. "none", as docker spells it, is quiet, and "" the
// zero Mode.
func ParseMode(s string) (Mode, error) {
	switch {
	case s == "":
		return "", nil
	case s == "none":
		return Quiet, nil
	case slices.Contains(modes, Mode(s)):
		return Mode(s), nil
	}
	return "", fmt.Errorf("parsing progress mode %q: want one of %s", s, Modes())
}

// Modes lists the modes for messages and help: "auto, plain, …".
func Modes() string {
	var names []string
	for _, m := range modes {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

// resolve turns what was asked for into one of the four that show something.
// Only a mode asked for here, not by the environment, insists on a terminal.
func (o *Options) resolve() (Mode, error) {
	mode, asked := o.Mode, o.Mode != ""
	if !asked {
		var err error
		if mode, err = ParseMode(o.Getenv(envMode)); err != nil {
			return "", fmt.Errorf("reading %s: %w", envMode, err)
		}
	}
	_, _, terminal := o.Size()
	switch mode {
	case Plain, RawJSON, Quiet:
		return mode, nil
	case TTY:
		switch {
		case terminal:
			return TTY, nil
		case asked:
			return "", fmt.Errorf("showing progress %q: standard error is no terminal; %q needs none", TTY, Plain)
		}
		return Plain, nil
	case Auto, "":
		if terminal && o.Getenv("TERM") != "dumb" && o.Getenv("CI") == "" {
			return TTY, nil
		}
		return Plain, nil
	}
	_, err := ParseMode(string(mode))
	return "", err
}

// colour follows no-color.org and bixense.com/clicolors; NO_COLOR wins.
func (o *Options) colour() bool {
	if o.Getenv("NO_COLOR") != "" {
		return false
	}
	if force := o.Getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	_, _, terminal := o.Size()
	return terminal && o.Getenv("TERM") != "dumb"
}
