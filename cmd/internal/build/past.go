package build

import (
	"bytes"
	"encoding/json"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache/disk"
)

// past is what the last build of an output here tells of the next one. Only the
// order of builds and the time left follow from it.
type past struct {
	Output string `json:"output"`
	// Seconds it took; of a build that the engine's cache spared some work, at
	// least what is known from before.
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak,omitempty"` // bytes of memory; 0: unknown
}

func (p past) took() time.Duration { return time.Duration(p.Seconds * float64(time.Second)) }

// pastFile holds a past a line, of each output the last one counts. Records do
// not: they are about what lies in out/, which may be preseeded.
const pastFile = "builds"

// pasts reads the file. What is damaged in it, as by a kill, is passed over.
func (t *Tree) pasts() map[string]past {
	data, err := os.ReadFile(t.Store.Dir(pastFile))
	if err != nil {
		return nil
	}
	byName, lines := map[string]past{}, 0
	for line := range bytes.Lines(data) {
		var p past
		if json.Unmarshal(line, &p) == nil && p.Seconds > 0 && p.took() > 0 && p.Peak >= 0 {
			byName[p.Output] = p
			lines++
		}
	}
	if lines > 1000+10*len(byName) {
		t.shorten(byName)
	}
	return byName
}

// shorten writes only what counts. What another sx appends meanwhile is lost,
// which costs an estimate.
func (t *Tree) shorten(byName map[string]past) {
	var out []byte
	for _, p := range byName {
		line, err := json.Marshal(p)
		if err != nil {
			return
		}
		out = append(append(out, line...), '\n')
	}
	if err := disk.WriteFile(t.Store.Dir(pastFile), out, 0o600, t.Store.Dir("tmp")); err != nil {
		t.log.Debug("shortening the list of builds", zap.Error(err))
	}
}

// remember appends p. The newline before it ends what a kill left half-written.
func (t *Tree) remember(p past) {
	line, err := json.Marshal(p)
	if err != nil {
		return
	}
	f, err := os.OpenFile(t.Store.Dir(pastFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		t.log.Debug("noting how long a build took", zap.Error(err))
		return
	}
	defer f.Close()
	if _, err := f.Write(append(append([]byte{'\n'}, line...), '\n')); err != nil {
		t.log.Debug("noting how long a build took", zap.Error(err))
	}
}

// rememberBuild notes what the build of s took and needed.
func (r *run) rememberBuild(s *Step, took time.Duration, img *buildkit.Image) {
	p := past{Output: s.Output.Ref.String(), Seconds: took.Seconds(), Peak: img.Peak}
	if s.Guessed {
		r.mu.Lock()
		r.unknown.add(took)
		r.mu.Unlock()
	}
	if img.Cached && !s.Guessed {
		p.Seconds = max(p.Seconds, s.Expected.Seconds())
		p.Peak = max(p.Peak, s.Memory)
	}
	r.remember(p)
}
