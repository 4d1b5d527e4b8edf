package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// sentences is where log entries go with -v: each is a line that says what was
// decided, of what, and why.
type sentences struct {
	w    io.Writer
	with []zapcore.Field
}

var _ zapcore.Core = sentences{}

func newSentences(w io.Writer) *zap.Logger { return zap.New(sentences{w: w}) }

func (s sentences) Enabled(zapcore.Level) bool { return true }
func (s sentences) Sync() error                { return nil }

func (s sentences) With(fields []zapcore.Field) zapcore.Core {
	return sentences{s.w, append(slices.Clip(s.with), fields...)}
}

func (s sentences) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, s)
}

// Write writes "sx: giving a mirror up (source core/a: one, mirror https://…): HTTP
// status 404".
func (s sentences) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	var names []string
	for _, f := range append(slices.Clip(s.with), fields...) {
		f.AddTo(enc)
		if f.Type != zapcore.ErrorType {
			names = append(names, f.Key)
		}
	}
	said := e.Message
	if e.Level > zapcore.WarnLevel {
		said = "error: " + said
	}
	var of []string
	for _, name := range names {
		of = append(of, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), enc.Fields[name]))
	}
	if len(of) > 0 {
		said += " (" + strings.Join(of, ", ") + ")"
	}
	if why := cmp.Or(enc.Fields["error"], any("")); why != "" {
		said += fmt.Sprintf(": %v", why)
	}
	_, err := fmt.Fprintln(s.w, "sx: "+text.Field(said))
	return err
}
