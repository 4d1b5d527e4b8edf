package verdict

import (
	"cmp"
	"math/bits"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// input is an output with one digest, as it was built into others. Its closure by
// digest is the same for all of them, so it is computed once.
type input struct {
	deps     []*input // empty without a proof
	builders []int    // the engines that built it, by number; none without a proof
	proven   bool     // it is MATCH, apart from its own inputs
	// deviation says why it, or one of its inputs, was not made by the tree's
	// definitions; "" if they were, as far as sx knows.
	deviation string

	digest oci.Digest

	marks, shared uint64       // scratch of count: a bit for each unproven input, or engine, of a round
	unproven      int          // unproven inputs in its closure
	engines       []engineBits // what it rests on, in the order of engines; none if that is only the embedded one
}

type inputID struct {
	output string
	digest oci.Digest
}

// inputs holds each input that was found, after its deps.
type inputs struct {
	byNumber  []*input // the first input added for each output of the graph, by the output's number
	byID      map[inputID]*input
	order     []*input
	engines   engines
	uncounted bool // some inputs have no count of unproven ones yet
	unmarked  bool // for some it is not known which engines they rest on
}

// basis is what a build here rests on.
type basis struct {
	// given counts the inputs that are not proven: the outputs in the closure, by digest,
	// that were not built here from the tree's definitions, with the published digest. It
	// is 0 unless basisOf was to count.
	given     int
	deviation string   // says that an input was not made by the tree's definitions
	on, each  []Engine // see [Verdict]
	builders  []Engine // that built the output itself; nil if that is the embedded one
}

// basisOf returns what the build of o rests on, which has the manifests ms and a proof.
// Counting is for a MATCH: in a tree of which nothing is published it takes long.
func (j *Judge) basisOf(o *graph.Output, ms []oci.Manifest, count bool) basis {
	j.mu.Lock()
	defer j.mu.Unlock()
	in := j.input(o.String(), o, ms)
	b := basis{deviation: in.deviation}
	if count {
		j.inputs.count()
		b.given = in.unproven
	}
	j.inputs.mark()
	b.on, b.each = j.supports(in)
	if len(b.on) > 0 || len(b.each) > 0 {
		for _, n := range in.builders {
			if b.builders = append(b.builders, j.engineNames()[n]); j.inputs.engines.embedded(n) {
				b.builders = nil
				break
			}
		}
		sortEngines(b.builders)
	}
	return b
}

// All judges refs. It is much faster than judging many outputs one by one.
func (j *Judge) All(refs []graph.Ref) []Verdict {
	outputs := make([]*graph.Output, len(refs))
	tree.Parallel(len(refs), func(i int) {
		outputs[i] = j.View.Graph.Output(refs[i])
		j.View.Load(outputs[i], nil)
	})
	j.prepare(outputs)
	vs := make([]Verdict, len(refs))
	tree.Parallel(len(refs), func(i int) { vs[i] = j.verdictOn(outputs[i]) })
	return vs
}

// prepare finds the inputs of outputs.
func (j *Judge) prepare(outputs []*graph.Output) {
	for _, o := range outputs {
		if rec, err := j.View.Record(o); err == nil && rec.Origin == cache.BuiltHere {
			j.input(o.String(), o, rec.Manifests)
		}
	}
}

// addDeps adds the dependencies that rec lists, the record of o; o is nil if the
// graph does not have the output. They are mostly the dependencies in the graph, so
// few are searched by name.
func (j *Judge) addDeps(in *input, o *graph.Output, rec cache.Record) {
	in.deps = make([]*input, len(rec.Deps), len(rec.Deps)+len(rec.Foreign))
	for i, d := range rec.Deps {
		var dep *graph.Output
		if o != nil && i < len(o.Inputs()) && o.Inputs()[i].String() == d.Output {
			dep = o.Inputs()[i]
		} else {
			dep = j.output(d.Output)
		}
		in.deps[i] = j.input(d.Output, dep, d.Images)
	}
	for _, image := range rec.Foreign {
		in.deps = append(in.deps, j.inputs.foreign(image))
	}
}

// foreign adds an image of another registry, which no build here can prove.
func (s *inputs) foreign(image string) *input {
	return s.add(image, nil, oci.Digest{}, func(*input) {})
}

// input returns the input for an output with the manifests ms; o is nil if the graph
// has no output of that name.
func (j *Judge) input(name string, o *graph.Output, ms []oci.Manifest) *input {
	var d oci.Digest
	if len(ms) > 0 {
		d = ms[0].Digest
	}
	if len(ms) == 1 {
		if in := j.inputs.find(name, o, d); in != nil {
			return in
		}
	}
	m, published := publishedManifest(o, ms)
	if published {
		d = m
	}
	return j.inputs.add(name, o, d, func(in *input) { j.fill(in, name, o, published) })
}

// fill looks for the proof of an input. Listed says that it has an image for the
// platform that digests/ lists.
func (j *Judge) fill(in *input, name string, o *graph.Output, listed bool) {
	want, ok := j.published(name)
	listed = listed && o != nil && ok && want == in.digest
	rec, proven := j.proof(name, o, in.digest)
	if !proven {
		if !listed {
			in.deviation = name + " was not built here, and is not the published image"
			if j.inHub(o, in.digest) {
				in.deviation = name + " is in the hub, its bytes not seen here (--results all brings them)"
			}
		}
		return
	}
	for _, e := range rec.Engines() {
		in.builders = append(in.builders, j.inputs.engines.add(e))
	}
	in.deviation = j.outdated(name, o, rec)
	in.proven = in.deviation == "" && listed && !usedForeignCache(rec)
	j.addDeps(in, o, rec)
	for _, dep := range in.deps {
		in.deviation = cmp.Or(in.deviation, dep.deviation)
	}
}

// inHub reports whether the hub of this run has an image of o, and out/ has none.
func (j *Judge) inHub(o *graph.Output, d oci.Digest) bool {
	if o == nil {
		return false
	}
	rec, ok := j.View.Hub(o)
	return ok && slices.ContainsFunc(rec.Manifests, func(m oci.Manifest) bool { return m.Digest == d })
}

// outdated returns why rec's build was not made by the tree's definitions, apart
// from its inputs; "" if it was.
func (j *Judge) outdated(name string, o *graph.Output, rec cache.Record) string {
	if o == nil {
		return name + " is not an output of the tree"
	}
	current, err := j.View.Current(o, tree.PlatformsIn(rec), rec)
	switch {
	case err != nil:
		return err.Error()
	case !current:
		return name + " was built from other definitions or sources than the tree's now"
	}
	if rec.Engine.Probe != buildkit.ProbeDigest {
		return name + " was built on an engine that does not produce StageX's bytes"
	}
	return ""
}

// proof returns the proof of an output with a digest.
func (j *Judge) proof(name string, o *graph.Output, d oci.Digest) (cache.Record, bool) {
	if o == nil {
		return j.View.Store.Proof(name, d)
	}
	return j.View.Proof(o, d)
}

// usedForeignCache reports whether a build may have used the cache of an engine
// elsewhere, which need not have been built here.
func usedForeignCache(rec cache.Record) bool { return builtElsewhere(rec) && !rec.NoCache }

// builtElsewhere reports whether the embedded engine is none of those that a build ran on.
func builtElsewhere(rec cache.Record) bool {
	return !slices.ContainsFunc(rec.Engines(), func(e cache.EngineInfo) bool { return e.Kind == buildkit.EmbeddedKind })
}

// output returns the tree's output of that name, or nil.
func (j *Judge) output(name string) *graph.Output {
	ref, err := graph.ParseRef(name)
	if err != nil {
		return nil
	}
	return j.View.Graph.Output(ref)
}

// find returns an input that was added, or nil.
func (s *inputs) find(name string, o *graph.Output, d oci.Digest) *input {
	if o != nil && o.Number() < len(s.byNumber) {
		if in := s.byNumber[o.Number()]; in != nil && in.digest == d {
			return in
		}
	}
	return s.byID[inputID{name, d}]
}

// put stores an input for find.
func (s *inputs) put(name string, o *graph.Output, in *input) {
	if o != nil {
		if n := o.Number() + 1 - len(s.byNumber); n > 0 {
			s.byNumber = append(s.byNumber, make([]*input, n)...)
		}
		if s.byNumber[o.Number()] == nil {
			s.byNumber[o.Number()] = in
			return
		}
	}
	if s.byID == nil {
		s.byID = map[inputID]*input{}
	}
	s.byID[inputID{name, in.digest}] = in
}

// add returns the input for an output with a digest, and calls fill if it is new.
// Only a forged record could lead back to itself; that edge does not count.
func (s *inputs) add(name string, o *graph.Output, d oci.Digest, fill func(*input)) *input {
	if in := s.find(name, o, d); in != nil {
		return in
	}
	in := &input{digest: d}
	s.put(name, o, in)
	fill(in)
	s.order, s.uncounted, s.unmarked = append(s.order, in), true, true
	return in
}

// mark sets which engines each input rests on.
func (s *inputs) mark() {
	if !s.unmarked {
		return
	}
	s.unmarked = false
	for _, in := range s.order {
		in.engines = nil
	}
	if len(s.engines.all) == 1 && s.engines.embedded(0) {
		return
	}
	for first := 0; first < len(s.engines.all); first += 64 {
		s.markEngines(first)
	}
}

// count sets how many unproven inputs each input has in its closure. It goes over all inputs
// once for every 64 that are unproven. Each of them has a bit; an input collects the bits of
// its closure, and counts those of its deps.
func (s *inputs) count() {
	if !s.uncounted {
		return
	}
	s.uncounted = false
	for _, in := range s.order {
		in.unproven = 0
	}
	var round []*input
	for i, in := range s.order {
		if !in.proven {
			round = append(round, in)
		}
		if len(round) == 64 || i == len(s.order)-1 && len(round) > 0 {
			s.markUnproven(round)
			round = round[:0]
		}
	}
}

// markUnproven computes the bits of a round, and adds them to the counts.
func (s *inputs) markUnproven(round []*input) {
	for _, in := range s.order {
		in.marks = 0
	}
	for i, in := range round {
		in.marks = 1 << i
	}
	for _, in := range s.order {
		var below uint64
		for _, dep := range in.deps {
			below |= dep.marks
		}
		in.marks |= below
		in.unproven += bits.OnesCount64(below)
	}
}
