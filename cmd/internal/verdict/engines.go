package verdict

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Engine is an engine elsewhere as a verdict names it. Its kind and its address identify
// it: two addresses are two engines, and a name that is pointed elsewhere is another one.
type Engine struct {
	// Name is the user's present name for the engine. Without one it is its kind, if the
	// tree's records and the settings know only one engine of that kind, or its address.
	Name string `json:"name"`
	Kind string `json:"kind"` // "docker", "ssh", …
	// Address is "" for an engine that has none, and in records of before sx recorded it.
	Address string `json:"address,omitempty"`
}

// Place returns the name, and the address if the name is the user's.
func (e Engine) Place() string {
	if e.Address == "" || e.Name == e.Address || e.Name == e.Kind {
		return e.Name
	}
	return e.Name + " (" + e.Address + ")"
}

// identity tells engines apart.
type identity struct{ kind, address string }

// identify returns the identity of an engine. The address of an engine that has none is
// its kind.
func identify(e cache.EngineInfo) identity {
	if e.Address == e.Kind {
		return identity{kind: e.Kind}
	}
	return identity{e.Kind, e.Address}
}

// engines numbers the engines of the records that were read.
type engines struct {
	all    []identity
	number map[identity]int
}

func (s *engines) add(e cache.EngineInfo) int {
	id := identify(e)
	n, ok := s.number[id]
	if !ok {
		if s.number == nil {
			s.number = map[identity]int{}
		}
		n = len(s.all)
		s.all, s.number[id] = append(s.all, id), n
	}
	return n
}

// embedded reports whether the engine with a number is the one inside sx.
func (s *engines) embedded(n int) bool { return s.all[n].kind == buildkit.EmbeddedKind }

// engineBits has a bit for each of 64 engines.
type engineBits struct {
	first int    // the number of the engine of the lowest bit
	on    uint64 // engines elsewhere that an input rests on
	each  uint64 // engines each of which built the input and all in its closure that has a proof
}

// markEngines sets, for the 64 engines from the number first on, which of them each input
// rests on. An input that the embedded engine built too rests on no other for that build.
func (s *inputs) markEngines(first int) {
	for _, in := range s.order {
		own, here := uint64(0), false
		for _, n := range in.builders {
			here = here || s.engines.embedded(n)
			if n >= first && n < first+64 {
				own |= 1 << (n - first)
			}
		}
		in.marks, in.shared = own, own
		if here {
			in.marks = 0
		}
		if len(in.builders) == 0 {
			in.shared = ^uint64(0)
		}
		for _, dep := range in.deps {
			in.marks |= dep.marks
			in.shared &= dep.shared
		}
		if len(in.builders) > 0 && in.marks|in.shared != 0 {
			in.engines = append(in.engines, engineBits{first, in.marks, in.shared})
		}
	}
}

// supports returns the engines elsewhere that in rests on, and those that each built all of
// its closure that has a proof, if there are several. It needs j's lock.
func (j *Judge) supports(in *input) (on, each []Engine) {
	for _, part := range in.engines {
		on = j.appendNamed(on, part.first, part.on)
		each = j.appendNamed(each, part.first, part.each)
	}
	sortEngines(on)
	sortEngines(each)
	if len(each) < 2 {
		return on, nil
	}
	on = slices.DeleteFunc(slices.Clone(each), func(e Engine) bool { return e.Kind == buildkit.EmbeddedKind })
	if len(on) < len(each) { // all was built here too
		on = nil
	}
	return on, each
}

// appendNamed appends the engines of a set, as verdicts name them. It needs j's lock.
func (j *Judge) appendNamed(all []Engine, first int, set uint64) []Engine {
	for ; set != 0; set &= set - 1 {
		all = append(all, j.engineNames()[first+bits.TrailingZeros64(set)])
	}
	return all
}

func sortEngines(all []Engine) {
	slices.SortFunc(all, func(a, b Engine) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address))
	})
}

// engineNames returns the engines by their numbers. A name depends on what else the tree
// was built on, so that it is the same whatever part of the tree is judged. It needs j's
// lock.
func (j *Judge) engineNames() []Engine {
	if len(j.names) == len(j.inputs.engines.all) {
		return j.names
	}
	known := j.knownEngines()
	alike, named := map[string]int{}, map[identity]string{}
	for id, name := range known {
		alike[id.kind]++
		if name != "" {
			named[id], alike[name] = name, alike[name]+2 // no kind is taken for a name
		}
	}
	j.names = nil
	for _, id := range j.inputs.engines.all {
		e := Engine{Kind: id.kind, Address: id.address, Name: named[id]}
		switch {
		case e.Name != "":
		case alike[id.kind] == 1:
			e.Name = id.kind
		case id.address == "":
			e.Name = id.kind + " at an unknown address"
		default:
			e.Name = text.Field(id.address)
		}
		j.names = append(j.names, e)
	}
	return j.names
}

// knownEngines returns the engines of all records and of the user's settings, with the
// names that the settings have for them.
func (j *Judge) knownEngines() map[identity]string {
	known := map[identity]string{}
	for _, o := range j.View.Graph.Outputs() {
		if rec, err := j.View.Record(o); err == nil && rec.Origin == cache.BuiltHere {
			for _, e := range rec.Engines() {
				known[identify(e)] = ""
			}
		}
	}
	for _, id := range j.inputs.engines.all {
		known[id] = ""
	}
	if j.View.Engines == nil {
		return known
	}
	for _, e := range j.View.Engines() {
		id := identify(e)
		if name := known[id]; name == "" || e.Name != "" && e.Name < name {
			known[id] = e.Name
		}
	}
	return known
}

// SameEngine reports whether two records were built on one engine.
func SameEngine(a, b cache.EngineInfo) bool { return identify(a) == identify(b) }
