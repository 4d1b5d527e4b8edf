package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// rawJSON writes each event as a line.
type rawJSON struct{ w io.Writer }

var _ view = (*rawJSON)(nil)

func (v *rawJSON) show(e event) { io.WriteString(v.w, jsonLine(e)) }

func jsonLine(e event) string {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		panic("progress: internal error: " + err.Error())
	}
	return harmless(line.String())
}

func (v *rawJSON) tick(time.Time)        {}
func (v *rawJSON) period() time.Duration { return 0 }
func (v *rawJSON) close()                {}

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
