package cache

import (
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cache/pack"
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
	u := unpacker{pack.Unpacker{Rest: learnt}}
	l := u.layout()
	if !u.Done() || l.Output != output {
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
	u := unpacker{pack.Unpacker{Rest: learnt}}
	r := u.record()
	vouched := u.sums()
	if !u.Done() || r.Output != output {
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
		u := unpacker{pack.Unpacker{Rest: learnt}}
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

// packer and unpacker add to package pack what layouts and records are made of.
type (
	packer   struct{ pack.Packer }
	unpacker struct{ pack.Unpacker }
)

func packLayout(l Layout) string {
	var p packer
	p.Text(l.Output)
	p.digest(l.Top)
	p.digest(l.Index)
	p.manifests(l.Manifests)
	p.manifests(l.Attestations)
	p.Bool(l.OneLevel)
	p.Text(l.Name, l.RefName)
	p.List(l.Stray)
	return string(p.Packer)
}

func (u *unpacker) layout() (l Layout) {
	l.Output, l.Top, l.Index = u.Text(), u.digest(), u.digest()
	l.Manifests, l.Attestations = u.manifests(nil), u.manifests(nil)
	l.OneLevel, l.Name, l.RefName, l.Stray = u.Bool(), u.Text(), u.Text(), u.List()
	return l
}

// packRecord packs r and, to the end, the sums that are vouched for with it.
func packRecord(r Record, vouched [][32]byte) string {
	var p packer
	p.Text(r.Output, string(r.Origin))
	p.Sum(r.Key.sum)
	p.manifests(r.Manifests)
	p.digest(r.Index)
	p.digest(r.Top)
	p.Uint(uint64(len(r.Deps)))
	for _, dep := range r.Deps {
		p.Text(dep.Output)
		p.manifests(dep.Images)
	}
	p.List(r.Foreign)
	p.Text(r.Engine.Kind, r.Engine.BuildKit, r.Engine.SX, r.Engine.Probe, r.Engine.Snapshotter)
	p.Bool(r.NoCache)
	p.Bool(r.Network)
	p.Text(r.From)
	p.time(r.Started)
	p.time(r.Finished)
	p.Text(r.Log)
	for _, sum := range vouched {
		p.Sum(sum)
	}
	return string(p.Packer)
}

func (u *unpacker) record() (r Record) {
	r.Output, r.Origin = u.Text(), Origin(u.Text())
	r.Key.sum = u.Sum()
	r.Manifests, r.Index, r.Top = u.manifests(nil), u.digest(), u.digest()
	r.Deps, r.Foreign = u.deps(), u.List()
	r.Engine = EngineInfo{Kind: u.Text(), BuildKit: u.Text(), SX: u.Text(), Probe: u.Text(), Snapshotter: u.Text()}
	r.NoCache, r.Network, r.From = u.Bool(), u.Bool(), u.Text()
	r.Started, r.Finished, r.Log = u.time(), u.time(), u.Text()
	return r
}

func (u *unpacker) deps() Deps {
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

// sums reads all that is left.
func (u *unpacker) sums() (sums [][32]byte) {
	for u.Rest != "" {
		sums = append(sums, u.Sum())
	}
	return sums
}

func (p *packer) manifests(ms []oci.Manifest) {
	p.Uint(uint64(len(ms)))
	for _, m := range ms {
		p.digest(m.Digest)
		p.Int(m.Size)
		p.Text(m.Platform)
	}
}

// manifests appends to ms.
func (u *unpacker) manifests(ms []oci.Manifest) []oci.Manifest {
	n := u.Count()
	ms = slices.Grow(ms, n)
	for range n {
		ms = append(ms, oci.Manifest{Digest: u.digest(), Size: u.Int(), Platform: u.Text()})
	}
	return ms
}

func (p *packer) digest(d oci.Digest) { p.Sum(d.Sum()) }

func (u *unpacker) digest() oci.Digest { return oci.DigestFromSum(u.Sum()) }

// time packs seconds since 1970 and nanoseconds. Times are UTC, as in a record's file.
func (p *packer) time(t time.Time) {
	p.Int(t.Unix())
	p.Int(int64(t.Nanosecond()))
}

func (u *unpacker) time() time.Time { return time.Unix(u.Int(), u.Int()).UTC() }
