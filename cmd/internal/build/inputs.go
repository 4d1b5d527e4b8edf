package build

import (
	"math/bits"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// input is an output with one digest, as others were built from it. What counts
// for them is its whole closure by digest, so each is looked at once for all.
type input struct {
	deps []*input // none of what has no proof
	kind string   // of the engine that built it; "" where there is no proof
	full bool     // it is MATCH, on that kind of engine and its own inputs aside

	seen uint64         // scratch of count: the unproven ones of a round that it is or rests on
	on   map[string]int // kind of engine → unproven inputs
}

type inputID struct {
	output string
	digest cache.Digest
}

// inputs are all that were looked at, each after its deps.
type inputs struct {
	byID  map[inputID]*input
	order []*input
	stale bool // some have no counts yet
}

// unprovenInputs counts what ref, which has the manifests ms and a proof, rests on
// without proof: outputs in its closure, by digest, that were not built here, from
// the tree's definitions, with the published digest, on the kind of engine that
// ref's verdict names or on the embedded one, whose word needs no name.
func (j *Judge) unprovenInputs(ref graph.Ref, ms []cache.Manifest) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	in, err := j.input(ref.String(), ms)
	if err != nil {
		return 0, err
	}
	j.inputs.count()
	return in.on[in.kind], nil
}

// All judges refs, which is much faster than one by one where there are many.
func (j *Judge) All(refs []graph.Ref) ([]Verdict, error) {
	parallel(len(refs), func(i int) {
		if o := j.Tree.Graph.Output(refs[i]); o != nil {
			j.Tree.look(o, nil)
		}
	})
	if err := j.prepare(refs); err != nil {
		return nil, err
	}
	vs, errs := make([]Verdict, len(refs)), make([]error, len(refs))
	parallel(len(refs), func(i int) { vs[i], errs[i] = j.Judge(refs[i]) })
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return vs, nil
}

// prepare looks at all that refs rest on.
func (j *Judge) prepare(refs []graph.Ref) error {
	if j.inputs.byID == nil {
		j.inputs.byID = make(map[inputID]*input, len(refs))
	}
	for _, ref := range refs {
		rec, err := j.Tree.record(ref.String())
		if err != nil || rec.Origin != cache.BuiltHere {
			continue
		}
		if _, err := j.input(ref.String(), rec.Manifests); err != nil {
			return err
		}
	}
	return nil
}

func (j *Judge) addDeps(in *input, rec cache.Record) error {
	in.deps = make([]*input, 0, len(rec.Deps))
	for name, ms := range rec.Deps {
		dep, err := j.input(name, ms)
		if err != nil {
			return err
		}
		in.deps = append(in.deps, dep)
	}
	return nil
}

// input looks at an output that has the manifests ms, or had when it was used.
func (j *Judge) input(name string, ms []cache.Manifest) (*input, error) {
	var d cache.Digest
	if len(ms) > 0 {
		d = ms[0].Digest
	}
	if in := j.inputs.byID[inputID{name, d}]; in != nil && len(ms) == 1 {
		return in, nil
	}
	o := j.output(name)
	m, published := publishedManifest(o, ms)
	if published {
		d = m
	}
	return j.inputs.of(inputID{name, d}, func(in *input) error {
		rec, proven := j.Tree.proof(name, d)
		if !proven {
			return nil
		}
		in.kind = rec.Engine.Kind
		if o != nil && published && !onCache(rec) &&
			rec.Engine.Probe == buildkit.ProbeDigest && j.Tree.Published[name] == d {
			var err error
			if in.full, err = j.Tree.current(o, platformsIn(rec), rec); err != nil {
				return err
			}
		}
		return j.addDeps(in, rec)
	})
}

// onCache tells of a build that may have used what the cache of an engine elsewhere
// holds, which nobody here need have built.
func onCache(rec cache.Record) bool {
	return rec.Engine.Kind != "embedded" && !rec.NoCache
}

// output is the tree's output of that name, or nil.
func (j *Judge) output(name string) *graph.Output {
	if j.outputs == nil {
		j.outputs = map[string]*graph.Output{}
		for _, o := range j.Tree.Graph.Outputs() {
			j.outputs[o.Ref.String()] = o
		}
	}
	return j.outputs[name]
}

// of returns the input id, which fill looks at when it is new. Only a forged record
// could lead back to itself; the edge that does counts for nothing.
func (s *inputs) of(id inputID, fill func(*input) error) (*input, error) {
	if in := s.byID[id]; in != nil {
		return in, nil
	}
	if s.byID == nil {
		s.byID = map[inputID]*input{}
	}
	in := &input{}
	s.byID[id] = in
	if err := fill(in); err != nil {
		return nil, err
	}
	s.order, s.stale = append(s.order, in), true
	return in, nil
}

// count fills in how many unproven inputs each rests on, for every kind of engine
// that built any.
func (s *inputs) count() {
	if !s.stale {
		return
	}
	s.stale = false
	kinds := map[string]bool{}
	for _, in := range s.order {
		in.on = nil
		kinds[in.kind] = true
	}
	delete(kinds, "")
	for kind := range kinds {
		s.countOn(kind)
	}
}

// countOn goes over all inputs once for every 64 that are unproven on that kind of
// engine: an input is marked with those that it is or rests on, and has as many as
// its deps have marks.
func (s *inputs) countOn(kind string) {
	var round []*input
	for i, in := range s.order {
		if !in.full || in.kind != kind && in.kind != "embedded" {
			round = append(round, in)
		}
		if len(round) == 64 || i == len(s.order)-1 && len(round) > 0 {
			s.mark(round, kind)
			round = round[:0]
		}
	}
}

func (s *inputs) mark(round []*input, kind string) {
	for _, in := range s.order {
		in.seen = 0
	}
	for i, in := range round {
		in.seen = 1 << i
	}
	for _, in := range s.order {
		var below uint64
		for _, dep := range in.deps {
			below |= dep.seen
		}
		in.seen |= below
		if below != 0 {
			if in.on == nil {
				in.on = map[string]int{}
			}
			in.on[kind] += bits.OnesCount64(below)
		}
	}
}
