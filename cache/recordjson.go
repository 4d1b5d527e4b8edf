package cache

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
)

// recordWriter writes what json.Marshal makes of a Record. For the dependencies that takes
// twenty times as long: encoding/json checks and copies, byte by byte, what a MarshalJSON
// returns. TestRecordWriter compares the two, for every field.
type recordWriter struct {
	out []byte
	err error // of a time that JSON cannot have
}

// appendRecord appends what json.Marshal makes of r.
func appendRecord(b []byte, r Record) ([]byte, error) {
	if !r.Deps.sorted() { // the map of Deps.MarshalJSON sorts them
		body, err := json.Marshal(r)
		return append(b, body...), err
	}
	w := recordWriter{out: b}
	w.record(&r)
	return w.out, w.err
}

func (w *recordWriter) record(r *Record) {
	w.text(`{"output":`, r.Output)
	w.text(`,"origin":`, string(r.Origin))
	w.text(`,"key":`, r.Key.String())
	w.manifests(`,"manifests":`, r.Manifests)
	w.digest(`,"index":`, r.Index)
	w.digest(`,"top":`, r.Top)
	w.deps(r.Deps)
	for i, image := range r.Foreign {
		w.text(first(i, `,"foreign":[`), image)
	}
	w.end(len(r.Foreign), ']')
	w.engine(`,"engine":`, r.Engine)
	for i, e := range r.Also {
		w.engine(first(i, `,"also":[`), e)
	}
	w.end(len(r.Also), ']')
	w.raw(`,"no_cache":`)
	w.out = strconv.AppendBool(w.out, r.NoCache)
	w.raw(`,"network":`)
	w.out = strconv.AppendBool(w.out, r.Network)
	w.unlessEmpty(`,"from":`, r.From)
	w.time(`,"started":`, r.Started)
	w.time(`,"finished":`, r.Finished)
	w.unlessEmpty(`,"log":`, r.Log)
	w.raw(`}`)
}

// first returns what comes before element i of a list that begins with begin.
func first(i int, begin string) string {
	if i == 0 {
		return begin
	}
	return ","
}

// end ends a list of n elements, or does nothing if there is none.
func (w *recordWriter) end(n int, mark byte) {
	if n > 0 {
		w.out = append(w.out, mark)
	}
}

func (w *recordWriter) deps(deps Deps) {
	for i, d := range deps {
		w.text(first(i, `,"deps":{`), d.Output)
		w.manifests(`:`, d.Images)
	}
	w.end(len(deps), '}')
}

func (w *recordWriter) manifests(before string, ms []oci.Manifest) {
	w.raw(before)
	if ms == nil {
		w.raw(`null`)
		return
	}
	w.raw(`[`)
	for i, m := range ms {
		w.raw(first(i, ""))
		w.digest(`{"digest":`, m.Digest)
		w.raw(`,"size":`)
		w.out = strconv.AppendInt(w.out, m.Size, 10)
		w.text(`,"platform":`, m.Platform)
		w.raw(`}`)
	}
	w.raw(`]`)
}

func (w *recordWriter) engine(before string, e EngineInfo) {
	w.raw(before)
	begin := len(w.out)
	w.unlessEmpty(`,"kind":`, e.Kind)
	w.unlessEmpty(`,"name":`, e.Name)
	w.unlessEmpty(`,"address":`, e.Address)
	w.unlessEmpty(`,"buildkit":`, e.BuildKit)
	w.unlessEmpty(`,"sx":`, e.SX)
	w.unlessEmpty(`,"probe":`, e.Probe)
	w.unlessEmpty(`,"snapshotter":`, e.Snapshotter)
	if m := e.Machine; m != (Machine{}) {
		w.raw(`,"machine":`)
		begin := len(w.out)
		w.unlessEmpty(`,"cpu_vendor":`, m.CPUVendor)
		w.unlessEmpty(`,"cpu_model":`, m.CPUModel)
		w.unlessEmpty(`,"kernel":`, m.Kernel)
		w.object(begin)
	}
	w.object(begin)
}

// object makes the members from begin on, a comma before each, an object.
func (w *recordWriter) object(begin int) {
	if len(w.out) == begin {
		w.raw(`{`)
	}
	w.out[begin] = '{'
	w.raw(`}`)
}

func (w *recordWriter) raw(text string) { w.out = append(w.out, text...) }

func (w *recordWriter) unlessEmpty(before, text string) {
	if text != "" {
		w.text(before, text)
	}
}

// text writes a string.
func (w *recordWriter) text(before, text string) {
	w.raw(before)
	if !isPlain(text) {
		quoted, err := json.Marshal(text)
		w.out, w.err = append(w.out, quoted...), errors.Join(w.err, err)
		return
	}
	w.raw(`"`)
	w.raw(text)
	w.raw(`"`)
}

func (w *recordWriter) digest(before string, d oci.Digest) {
	w.raw(before)
	w.raw(`"`)
	w.out, _ = d.AppendText(w.out) // it never fails
	w.raw(`"`)
}

// isPlain reports whether encoding/json writes text as it is, between quotes.
func isPlain(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// time writes a time, which must have a year of four digits.
func (w *recordWriter) time(before string, at time.Time) {
	w.raw(before)
	text, err := at.MarshalJSON()
	w.out, w.err = append(w.out, text...), errors.Join(w.err, err)
}
