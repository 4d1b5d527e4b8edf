package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Line returns e as a line of rawjson, with its end.
func Line(e Event) string {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		panic("events: internal error: " + err.Error())
	}
	return harmless(line.String())
}

// harmless writes as \u escapes what JSON would let through and a terminal or a
// CI system might act on. All of that can only be inside strings.
func harmless(line string) string {
	line = strings.ReplaceAll(line, "##", `#\u0023`)
	var b strings.Builder
	for _, r := range line {
		if r == '\n' || r < utf8.RuneSelf && r != 0x7f || text.Field(string(r)) == string(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// Parse reads a line of rawjson. Kinds and fields of a later sx are no error.
func Parse(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, fmt.Errorf("reading an event: %w", err)
	}
	if e.Event == "" || e.Time.IsZero() {
		return Event{}, errors.New("reading an event: it lacks its name or its time")
	}
	return e, nil
}
