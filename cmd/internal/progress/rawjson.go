package progress

import (
	"io"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
)

// rawJSON writes each event as a line.
type rawJSON struct{ w io.Writer }

var _ view = (*rawJSON)(nil)

func (v *rawJSON) show(e events.Event) { io.WriteString(v.w, events.Line(e)) }

func (v *rawJSON) tick(time.Time)        {}
func (v *rawJSON) period() time.Duration { return 0 }
func (v *rawJSON) close()                {}
