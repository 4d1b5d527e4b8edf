package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// Current reports whether rec, a record of o, is of a build from the tree's current definitions
// for these platforms: whether its key is today's key, given the dependencies and the
// engine that rec names. A yes is kept with the record for as long as the definition
// and rec are unchanged, because computing the key takes long.
func (v *View) Current(o *graph.Output, platforms []string, rec cache.Record) (bool, error) {
	if len(o.Deps) != len(rec.Deps) {
		return false, nil
	}
	e := v.entry(o)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == rec.Key && slices.Equal(e.platforms, platforms) {
		return true, nil
	}
	yes, err := v.current(o, platforms, rec)
	if yes {
		e.current, e.platforms = rec.Key, platforms
	}
	return yes, err
}

// current is Current without what this View found out before.
func (t *Tree) current(o *graph.Output, platforms []string, rec cache.Record) (bool, error) {
	if t.isKept(o, platforms, rec) {
		return true, nil
	}
	sum, kept := t.question(o, platforms, rec)
	if kept && t.Store.Vouched(sum) {
		return true, nil
	}
	key, err := t.Key(o, o.Request(platforms), rec.Deps, rec.Engine.Probe)
	if err != nil || key != rec.Key {
		return false, err
	}
	if kept {
		t.Store.Vouch(rec, sum)
	}
	return true, nil
}

// question hashes all that the answer of current depends on; the key stands for the
// dependencies and the engine. Only of a definition that was recalled it is known.
func (t *Tree) question(o *graph.Output, platforms []string, rec cache.Record) (sum [32]byte, ok bool) {
	definition, ok := t.Memory.recalled(o.Definition)
	if !ok {
		return sum, false
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	buf := append((*scratch)[:0], "sx current 3\x00"...)
	buf = append(buf, definition.print[:]...)
	key := rec.Key.Sum()
	buf = append(buf, key[:]...)
	for _, text := range [...]string{o.Ref.Stage, o.Ref.Name} {
		buf = append(binary.AppendUvarint(buf, uint64(len(text))), text...)
	}
	for _, text := range platforms {
		buf = append(binary.AppendUvarint(buf, uint64(len(text))), text...)
	}
	*scratch = buf
	return sha256.Sum256(buf), true
}

// PlatformsIn returns the platforms of the images that rec is about, in their order.
func PlatformsIn(rec cache.Record) []string {
	var ps []string
	for _, m := range rec.Manifests {
		ps = append(ps, m.Platform)
	}
	return ps
}
