package schedule

import (
	"bytes"
	"encoding/json"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// Timing says what the last build of an output here took. It decides the order of
// builds and the time left, and nothing else.
type Timing struct {
	Output string `json:"output"`
	// Seconds is how long it took. A build that used the engine's cache counts as no
	// shorter than the one before.
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak,omitempty"` // bytes of memory; 0: unknown
}

func (p Timing) duration() time.Duration { return time.Duration(p.Seconds * float64(time.Second)) }

// timingsFile holds one Timing a line; the last one of an output counts. Records cannot
// hold them: they are about what lies in out/, which may be preseeded.
const timingsFile = "builds"

// Timings reads the file, by the name of the output. It skips damaged lines, which a kill
// may leave.
func Timings(t *tree.Tree) map[string]Timing {
	data, err := os.ReadFile(t.Store.Dir(timingsFile))
	if err != nil {
		return nil
	}
	byName, lines := map[string]Timing{}, 0
	for line := range bytes.Lines(data) {
		var p Timing
		if json.Unmarshal(line, &p) == nil && p.Seconds > 0 && p.duration() > 0 && p.Peak >= 0 {
			byName[p.Output] = p
			lines++
		}
	}
	if lines > 1000+10*len(byName) {
		shorten(t, byName)
	}
	return byName
}

// shorten rewrites the file with the last Timing of each output. A line that another sx
// appends at the same time may be lost, which costs an estimate.
func shorten(t *tree.Tree, byName map[string]Timing) {
	var out []byte
	for _, p := range byName {
		line, err := json.Marshal(p)
		if err != nil {
			return
		}
		out = append(append(out, line...), '\n')
	}
	if err := disk.WriteFile(t.Store.Dir(timingsFile), out, 0o600, t.Store.Dir("tmp")); err != nil {
		t.Log.Debug("shortening the list of builds", zap.Error(err))
	}
}

// RecordTiming appends p to the file. The newline before it ends a line that a kill left
// half-written.
func RecordTiming(t *tree.Tree, p Timing) {
	line, err := json.Marshal(p)
	if err != nil {
		return
	}
	f, err := disk.OpenFile(t.Store.Dir(timingsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		t.Log.Debug("noting how long a build took", zap.Error(err))
		return
	}
	defer f.Close()
	if _, err := f.Write(append(append([]byte{'\n'}, line...), '\n')); err != nil {
		t.Log.Debug("noting how long a build took", zap.Error(err))
	}
}
