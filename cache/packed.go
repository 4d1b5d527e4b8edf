package cache

import (
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cache/pack"
)

// observe looks at what is about to be read at path. It returns a function that remembers
// the value that was read.
func observe(m *memo.Memo, path string) (remember func(value string)) {
	if m == nil {
		return func(string) {}
	}
	seen := m.Observe(path)
	return func(value string) { m.Put(seen, value) }
}

// packer and unpacker add to package pack what layouts and records are made of.
type (
	packer   struct{ pack.Packer }
	unpacker struct{ pack.Unpacker }
)

func unpackerOf(value string) unpacker { return unpacker{pack.Unpacker{Rest: value}} }

func packLayout(l layout.Layout) string {
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

func (u *unpacker) layout() (l layout.Layout) {
	l.Output, l.Top, l.Index = u.Text(), u.digest(), u.digest()
	l.Manifests, l.Attestations = u.manifests(nil), u.manifests(nil)
	l.OneLevel, l.Name, l.RefName, l.Stray = u.Bool(), u.Text(), u.Text(), u.List()
	return l
}

// packRecord packs r and, to the end, the sums that are vouched for with it.
func packRecord(r Record, vouched [][32]byte) string {
	p := packer{make(pack.Packer, 0, 1<<9)}
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
	p.engine(r.Engine)
	p.Uint(uint64(len(r.Also)))
	for _, e := range r.Also {
		p.engine(e)
	}
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
	r.Engine = u.engine()
	for range u.Count() {
		r.Also = append(r.Also, u.engine())
	}
	r.NoCache, r.Network, r.From = u.Bool(), u.Bool(), u.Text()
	r.Started, r.Finished, r.Log = u.time(), u.time(), u.Text()
	return r
}

func (p *packer) engine(e EngineInfo) {
	p.Text(e.Kind, e.Name, e.Address, e.BuildKit, e.SX, e.Probe, e.Snapshotter)
	p.Text(e.Machine.CPUVendor, e.Machine.CPUModel, e.Machine.Kernel)
}

func (u *unpacker) engine() EngineInfo {
	e := EngineInfo{Kind: u.Text(), Name: u.Text(), Address: u.Text(), BuildKit: u.Text(), SX: u.Text(), Probe: u.Text(), Snapshotter: u.Text()}
	e.Machine = Machine{CPUVendor: u.Text(), CPUModel: u.Text(), Kernel: u.Text()}
	return e
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
