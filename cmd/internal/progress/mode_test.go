package progress_test

import (
	"bytes"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/progress"
)

func TestParseMode(t *testing.T) {
	for in, want := range map[string]progress.Mode{
		"": "", "auto": progress.Auto, "plain": progress.Plain, "tty": progress.TTY, "rawjson": progress.RawJSON,
		"quiet": progress.Quiet, "none": progress.Quiet,
	} {
		if got, err := progress.ParseMode(in); got != want || err != nil {
			t.Errorf("ParseMode(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	_, err := progress.ParseMode("TTY")
	if want := `parsing progress mode "TTY": want one of auto, plain, tty, rawjson, quiet`; err == nil || err.Error() != want {
		t.Errorf("ParseMode: %v, want %s", err, want)
	}
}

// What a warning looks like tells the modes apart.
const (
	asPlain   = "warning: w\n"
	asYellow  = "\x1b[33mwarning: w\x1b[0m\n"
	asJSON    = `"event":"warning"`
	asTTY     = "\rwarning: w\n"
	colourTTY = "\r\x1b[33mwarning: w\x1b[0m\n"
)

func TestModeAndColour(t *testing.T) {
	tests := []struct {
		name     string
		mode     progress.Mode
		terminal bool
		env      []string
		want     string
	}{
		{"terminal", "", true, nil, colourTTY},
		{"auto on a terminal", progress.Auto, true, nil, colourTTY},
		{"no terminal", "", false, nil, asPlain},
		{"CI", "", true, []string{"CI=true"}, asYellow},
		{"dumb terminal", progress.Auto, true, []string{"TERM=dumb"}, asPlain},
		{"asked for", progress.TTY, true, []string{"CI=true", "TERM=dumb"}, asTTY},
		{"environment", "", true, []string{"BUILDKIT_PROGRESS=plain"}, asYellow},
		{"environment's none", "", true, []string{"BUILDKIT_PROGRESS=none"}, asYellow},
		{"environment's tty without a terminal", "", false, []string{"BUILDKIT_PROGRESS=tty"}, asPlain},
		{"environment gives way", progress.Plain, true, []string{"BUILDKIT_PROGRESS=rawjson"}, asYellow},
		{"also to auto", progress.Auto, true, []string{"BUILDKIT_PROGRESS=bad"}, colourTTY},
		{"rawjson", progress.RawJSON, true, []string{"CLICOLOR_FORCE=1"}, asJSON},
		{"NO_COLOR", "", true, []string{"NO_COLOR=0"}, asTTY},
		{"NO_COLOR wins", "", false, []string{"NO_COLOR=1", "CLICOLOR_FORCE=1"}, asPlain},
		{"forced colour", progress.Plain, false, []string{"CLICOLOR_FORCE=1"}, asYellow},
		{"not forced colour", progress.Plain, false, []string{"CLICOLOR_FORCE=0"}, asPlain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			d := open(t, &out, progress.Options{
				Mode: tt.mode, Getenv: env(tt.env...),
				Size: func() (int, int, bool) { return 80, 24, tt.terminal },
			})
			d.Warn("w")
			d.Close()
			if got := out.String(); !strings.HasPrefix(got, tt.want) && !(tt.want == asJSON && strings.Contains(got, asJSON)) {
				t.Errorf("shown %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		opts progress.Options
		want string
	}{
		"unknown mode":        {progress.Options{Mode: "bad"}, `parsing progress mode "bad": want one of auto, plain, tty, rawjson, quiet`},
		"unknown environment": {progress.Options{Getenv: env("BUILDKIT_PROGRESS=bad")}, `reading BUILDKIT_PROGRESS: parsing progress mode "bad": want one of auto, plain, tty, rawjson, quiet`},
		"no terminal":         {progress.Options{Mode: progress.TTY}, `showing progress "tty": standard error is no terminal; "plain" needs none`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := progress.New(new(bytes.Buffer), tt.opts)
			if d != nil || err == nil || err.Error() != tt.want {
				t.Errorf("New: %v, %v, want %s", d, err, tt.want)
			}
		})
	}
}
