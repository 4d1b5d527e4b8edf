// Package fleet holds the engines that one run is spread over: who may build what, and how
// long the inputs of a build take to get to an engine.
//
// It refuses to connect: that is package buildkit's. It starts nothing and decides no order:
// that is package schedule's, which asks it.
package fleet

import (
	"fmt"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/graph"
)

// Member is one engine of a fleet, and what the user's settings say about it.
type Member struct {
	buildkit.Engine
	Name      string   // in the user's settings; "" if it was given by its address
	Jobs      int      // outputs built on it at once; 0: as elsewhere
	Memory    int64    // bytes that its builds at once may need; 0: as elsewhere
	Platforms []string // the only ones that it builds for; nil: all that it can
	Labels    []string // by which bindings choose it

	pool buildkit.Engine // that it is a machine of; nil if of none
}

// Recorded returns the kind and the address that records have of the engine. A machine of
// a pool is no engine of its own there: it is gone tomorrow.
func (m Member) Recorded() (kind, address string) {
	e := m.Engine
	if m.pool != nil {
		e = m.pool
	}
	return e.Kind(), buildkit.EngineName(e)
}

// Address returns where the engine is, without secrets: its address, or its kind.
func (m Member) Address() string { return buildkit.EngineName(m.Engine) }

// Title returns the name of the engine for messages, or its address if it has none.
func (m Member) Title() string {
	if m.Name != "" {
		return m.Name
	}
	return m.Address()
}

// String returns name and address: a name may be pointed elsewhere.
func (m Member) String() string {
	if m.Name == "" {
		return m.Address()
	}
	return fmt.Sprintf("%s (%s)", m.Name, m.Address())
}

// Machines returns the members with each [buildkit.Pool] replaced by machines of its own, no
// more than width: so many builds can run at once.
func Machines(members []Member, width int) (all []Member) {
	for _, m := range members {
		pool, ok := m.Engine.(buildkit.Pool)
		if !ok {
			all = append(all, m)
			continue
		}
		for _, e := range pool.Machines(max(width, 1)) {
			machine := m
			machine.Engine, machine.pool = e, m.Engine
			all = append(all, machine)
		}
	}
	return all
}

// Binding says which engines may build the outputs whose name, or that of their definition,
// matches a pattern.
type Binding struct {
	Pattern string   // of [path.Match], such as "bootstrap-*"
	Engines []string // names, labels, or platforms that the engine builds for
}

// Bindings are the bindings of a run. The one with the longest pattern that matches an
// output counts.
type Bindings []Binding

// of returns the binding of an output, nil if it has none.
func (b Bindings) of(o *graph.Output) *Binding {
	var found *Binding
	for i, one := range b {
		if o.Like(one.Pattern) && (found == nil || len(one.Pattern) > len(found.Pattern)) {
			found = &b[i]
		}
	}
	return found
}

// May reports whether m may build o for platforms. A binding by platform names what the
// engine builds for by itself, whatever the output is for: a cross compiler runs natively.
func (b Bindings) May(o *graph.Output, platforms []string, m Member) bool {
	if bound := b.of(o); bound != nil {
		return slices.ContainsFunc(bound.Engines, func(word string) bool {
			return word == m.Name || slices.Contains(m.Labels, word) || slices.Contains(m.Platforms, word)
		})
	}
	return len(m.Platforms) == 0 || !slices.ContainsFunc(platforms, func(p string) bool { return !slices.Contains(m.Platforms, p) })
}
