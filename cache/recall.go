package cache

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// recallLayout is WholeTime for a layout that was whole before and of which
// everything is what it was.
func (s *Store) recallLayout(output string) (l Layout, at time.Time, ok bool) {
	if s.layouts == nil || checkOutput(output) != nil {
		return Layout{}, at, false
	}
	learnt, ok := s.layouts.Get(outName(output), func(i memo.Item) {
		if i.Path == indexName {
			at = i.ModTime()
		}
	})
	if !ok {
		return Layout{}, at, false
	}
	l, ok = s.unpackLayout(output, learnt)
	return l, at, ok
}

// Remembered names the outputs whose layouts were whole when sx last looked, in no
// order.
func (s *Store) Remembered() (outputs []string) {
	if s.layouts == nil {
		return nil
	}
	for _, path := range s.layouts.Paths() {
		outputs = append(outputs, strings.TrimPrefix(path, outName("")))
	}
	return outputs
}

// outName is the path of an output's folder as the memory of layouts has it.
func outName(output string) string { return "out/" + output }

// glanceLayout is Layout for what recallLayout would recall without reading.
func (s *Store) glanceLayout(output string) (Layout, bool) {
	if s.layouts == nil || checkOutput(output) != nil {
		return Layout{}, false
	}
	learnt, ok := s.layouts.Peek(outName(output))
	if !ok {
		return Layout{}, false
	}
	return s.unpackLayout(output, learnt)
}

func (s *Store) unpackLayout(output, learnt string) (Layout, bool) {
	u := decoder{memo.Unpacker{Rest: learnt}}
	l := u.layout()
	if u.Failed || u.Rest != "" || l.Output != output {
		s.layouts.Forget(outName(output))
		return Layout{}, false
	}
	return l, true
}

// recallRecord is readRecord for a file that is what it was.
func (s *Store) recallRecord(path, output string) (Record, bool) {
	name, ok := s.below(path)
	if !ok {
		return Record{}, false
	}
	learnt, ok := s.records.Get(name, nil)
	if !ok {
		return Record{}, false
	}
	u := decoder{memo.Unpacker{Rest: learnt}}
	r := u.record()
	vouched := u.sums()
	if u.Failed || u.Rest != "" || r.Output != output {
		s.records.Forget(name)
		return Record{}, false
	}
	s.vouchMu.Lock()
	defer s.vouchMu.Unlock()
	for _, sum := range vouched {
		s.vouched[sum] = true
	}
	return r, true
}

// learning looks at what is about to be read; what it returns is told what was
// learnt of it.
func (s *Store) learning(m *memo.Memo, path string) (remember func(learnt string)) {
	if m == nil {
		return func(string) {}
	}
	seen := m.Observe(path)
	return func(learnt string) { m.Put(seen, learnt) }
}

// below is the path of a record as the memory has it.
func (s *Store) below(path string) (string, bool) {
	if s.records == nil || len(path) <= len(s.dir)+1 {
		return "", false
	}
	return path[len(s.dir)+1:], true
}

// maxVouched bounds what is vouched for with one record: more than one is of
// somebody who switches between platforms.
const maxVouched = 4

// Vouch keeps a sum with an output's record for as long as that record is there:
// that of a question about the record that takes long to answer, and whose answer
// was yes. What is asked must be in the sum.
func (s *Store) Vouch(r Record, sum [32]byte) {
	if s.records == nil {
		return
	}
	s.vouchMu.Lock()
	defer s.vouchMu.Unlock()
	if s.vouched[sum] {
		return
	}
	s.vouched[sum] = true
	name, _ := s.below(s.recordPath(r.Output))
	s.records.Update(name, func(learnt string) string {
		u := decoder{memo.Unpacker{Rest: learnt}}
		was := u.record()
		sums := append([][32]byte{sum}, u.sums()...)
		if u.Failed || was.Key != r.Key {
			return learnt
		}
		return packRecord(was, sums[:min(len(sums), maxVouched)])
	})
}

// Vouched reports whether Vouch was told of sum, in this run or in one before whose
// records were read in this.
func (s *Store) Vouched(sum [32]byte) bool {
	s.vouchMu.Lock()
	defer s.vouchMu.Unlock()
	return s.vouched[sum]
}

// decoder reads what appendLayout and packRecord wrote.
type decoder struct{ memo.Unpacker }

func appendLayout(buf []byte, l Layout) []byte {
	buf = memo.AppendText(buf, l.Output)
	buf = appendDigest(buf, l.Top)
	buf = appendDigest(buf, l.Index)
	buf = appendManifests(buf, l.Manifests)
	buf = appendManifests(buf, l.Attestations)
	buf = appendBool(buf, l.OneLevel)
	buf = memo.AppendText(buf, l.Name)
	buf = memo.AppendText(buf, l.RefName)
	buf = binary.AppendUvarint(buf, uint64(len(l.Stray)))
	for _, path := range l.Stray {
		buf = memo.AppendText(buf, path)
	}
	return buf
}

func (u *decoder) layout() (l Layout) {
	l.Output, l.Top, l.Index = u.Text(), u.digest(), u.digest()
	l.Manifests, l.Attestations = u.manifests(nil), u.manifests(nil)
	l.OneLevel, l.Name, l.RefName = u.bool(), u.Text(), u.Text()
	for range u.Count() {
		l.Stray = append(l.Stray, u.Text())
	}
	return l
}

func packRecord(r Record, vouched [][32]byte) string {
	var buf []byte
	buf = memo.AppendText(buf, r.Output)
	buf = memo.AppendText(buf, string(r.Origin))
	buf = append(buf, r.Key.sum[:]...)
	buf = appendManifests(buf, r.Manifests)
	buf = appendDigest(buf, r.Index)
	buf = appendDigest(buf, r.Top)
	buf = binary.AppendUvarint(buf, uint64(len(r.Deps)))
	for _, dep := range r.Deps {
		buf = memo.AppendText(buf, dep.Output)
		buf = appendManifests(buf, dep.Images)
	}
	buf = binary.AppendUvarint(buf, uint64(len(r.Foreign)))
	for _, image := range r.Foreign {
		buf = memo.AppendText(buf, image)
	}
	for _, text := range []string{r.Engine.Kind, r.Engine.BuildKit, r.Engine.SX, r.Engine.Probe, r.Engine.Snapshotter} {
		buf = memo.AppendText(buf, text)
	}
	buf = appendBool(buf, r.NoCache)
	buf = appendBool(buf, r.Network)
	buf = memo.AppendText(buf, r.From)
	buf = appendTime(buf, r.Started)
	buf = appendTime(buf, r.Finished)
	buf = memo.AppendText(buf, r.Log)
	for _, sum := range vouched {
		buf = append(buf, sum[:]...)
	}
	return string(buf)
}

func (u *decoder) record() (r Record) {
	r.Output, r.Origin = u.Text(), Origin(u.Text())
	r.Key.sum = u.Sum()
	r.Manifests, r.Index, r.Top = u.manifests(nil), u.digest(), u.digest()
	r.Deps = u.deps()
	for range u.Count() {
		r.Foreign = append(r.Foreign, u.Text())
	}
	r.Engine = EngineInfo{Kind: u.Text(), BuildKit: u.Text(), SX: u.Text(), Probe: u.Text(), Snapshotter: u.Text()}
	r.NoCache, r.Network, r.From = u.bool(), u.bool(), u.Text()
	r.Started, r.Finished, r.Log = u.time(), u.time(), u.Text()
	return r
}

func (u *decoder) deps() Deps {
	n := u.Count()
	if n == 0 {
		return nil
	}
	deps, images := make(Deps, n), make([]oci.Manifest, 0, n) // nearly all have one
	for i := range deps {
		deps[i].Output = u.Text()
		images = u.manifests(images[len(images):])
		deps[i].Images = slices.Clip(images)
	}
	return deps
}

// sums takes all that is left.
func (u *decoder) sums() (sums [][32]byte) {
	for u.Rest != "" {
		sums = append(sums, u.Sum())
	}
	return sums
}

func appendManifests(buf []byte, ms []oci.Manifest) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(ms)))
	for _, m := range ms {
		buf = appendDigest(buf, m.Digest)
		buf = binary.AppendVarint(buf, m.Size)
		buf = memo.AppendText(buf, m.Platform)
	}
	return buf
}

// manifests appends to ms.
func (u *decoder) manifests(ms []oci.Manifest) []oci.Manifest {
	n := u.Count()
	ms = slices.Grow(ms, n)
	for range n {
		ms = append(ms, oci.Manifest{Digest: u.digest(), Size: u.Int(), Platform: u.Text()})
	}
	return ms
}

func appendDigest(buf []byte, d oci.Digest) []byte {
	sum := d.Sum()
	return append(buf, sum[:]...)
}

func (u *decoder) digest() oci.Digest { return oci.DigestFromSum(u.Sum()) }

func appendBool(buf []byte, b bool) []byte {
	if b {
		return append(buf, 1)
	}
	return append(buf, 0)
}

func (u *decoder) bool() bool { return u.Take(1) == "\x01" }

// Times are UTC, as a record's file has them.
func appendTime(buf []byte, t time.Time) []byte {
	return binary.AppendVarint(binary.AppendVarint(buf, t.Unix()), int64(t.Nanosecond()))
}

func (u *decoder) time() time.Time { return time.Unix(u.Int(), u.Int()).UTC() }
