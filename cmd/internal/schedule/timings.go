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

// Timing is what the last build of an output here tells of the next one. Only the
// order of builds and the time left follow from it.
type Timing struct {
	Output string `json:"output"`
	// Seconds it took; of a build that the engine's cache spared some work, at
	// least what is known from before.
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak,omitempty"` // bytes of memory; 0: unknown
}

func (p Timing) duration() time.Duration { return time.Duration(p.Seconds * float64(time.Second)) }

// timingsFile holds a past a line, of each output the last one counts. Records do
// not: they are about what lies in out/, which may be preseeded.
const timingsFile = "builds"

// Timings reads the file. What is damaged in it, as by a kill, is passed over.
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

// shorten writes only what counts. What another sx appends meanwhile is lost,
// which costs an estimate.
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

// RecordTiming appends p. The newline before it ends what a kill left half-written.
func RecordTiming(t *tree.Tree, p Timing) {
	line, err := json.Marshal(p)
	if err != nil {
		return
	}
	f, err := os.OpenFile(t.Store.Dir(timingsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		t.Log.Debug("noting how long a build took", zap.Error(err))
		return
	}
	defer f.Close()
	if _, err := f.Write(append(append([]byte{'\n'}, line...), '\n')); err != nil {
		t.Log.Debug("noting how long a build took", zap.Error(err))
	}
}
