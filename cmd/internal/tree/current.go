package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// Current reports whether rec, of o, is of a build from what the tree says now for
// these platforms: its key is what the key is today with the dependencies and the
// engine that rec names. The answer yes is kept with the record, for as long as
// the definition and rec are what they are, because the question takes long.
func (t *Tree) Current(o *graph.Output, platforms []string, rec cache.Record) (bool, error) {
	if len(o.Deps) != len(rec.Deps) {
		return false, nil
	}
	if t.Evidence == nil {
		return t.ask(o, platforms, rec)
	}
	s := t.Evidence[o.Number()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == rec.Key && slices.Equal(s.platforms, platforms) {
		return true, nil
	}
	yes, err := t.ask(o, platforms, rec)
	if yes {
		s.current, s.platforms = rec.Key, platforms
	}
	return yes, err
}

// ask is current without what this run found out before.
func (t *Tree) ask(o *graph.Output, platforms []string, rec cache.Record) (bool, error) {
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

// question is a hash of all that current's answer depends on: the key stands for
// the dependencies and the engine. It is known of definitions that were recalled.
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

// SameDeps reports whether deps are those of a record. Where it is not sure it says
// no.
func SameDeps(a, b cache.Deps) bool {
	return slices.EqualFunc(a, b, func(a, b cache.Dep) bool {
		return a.Output == b.Output && slices.Equal(a.Images, b.Images)
	})
}
