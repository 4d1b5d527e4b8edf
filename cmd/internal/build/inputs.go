package build

import (
	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// current reports whether rec is of a build from what the tree says now: its key
// is what the key is today with the dependencies that rec names. Those are
// looked at by themselves.
func (j *Judge) current(ref graph.Ref, rec cache.Record) (bool, error) {
	o := j.Tree.Graph.Output(ref)
	if o == nil || len(o.Deps) != len(rec.Deps) {
		return false, nil
	}
	key, err := j.Tree.key(o, o.Request(platformsIn(rec)), rec.Deps, rec.Engine.Probe)
	return key == rec.Key, err
}

// unprovenInputs counts what rec rests on without proof: dependencies in its
// closure, by digest, that were not built here, from the tree's definitions, with
// the published digest.
func (j *Judge) unprovenInputs(rec cache.Record) (int, error) {
	seen, unproven := map[string]bool{}, 0
	var walk func(rec cache.Record) error
	walk = func(rec cache.Record) error {
		for name, ms := range rec.Deps {
			d, ok := j.input(name, ms)
			if id := name + "@" + d.String(); seen[id] {
				continue
			} else {
				seen[id] = true
			}
			dep, proven := j.Tree.Store.Proof(name, d)
			if ok && proven {
				var err error
				if ok, err = j.fullInput(name, d, dep, rec.Engine.Kind); err != nil {
					return err
				}
			}
			if !ok || !proven {
				unproven++
			}
			if !proven {
				continue
			}
			if err := walk(dep); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk(rec)
	return unproven, err
}

// input is the manifest of a dependency that digests/ speaks of; not ok when
// there is none, or the tree has no such output.
func (j *Judge) input(name string, ms []cache.Manifest) (d cache.Digest, ok bool) {
	if len(ms) > 0 {
		d = ms[0].Digest
	}
	ref, err := graph.ParseRef(name)
	if err != nil {
		return d, false
	}
	if m, ok := j.publishedManifest(ref, ms); ok {
		return m, true
	}
	return d, false
}

// fullInput reports whether a dependency with digest d and proof rec is itself
// MATCH on the same kind of engine, its own inputs aside.
func (j *Judge) fullInput(name string, d cache.Digest, rec cache.Record, engine string) (bool, error) {
	ref, err := graph.ParseRef(name)
	if err != nil {
		return false, nil
	}
	current, err := j.current(ref, rec)
	return current && rec.Engine.Probe == buildkit.ProbeDigest && rec.Engine.Kind == engine &&
		j.Tree.Published[name] == d, err
}
