package verdict

import (
	"fmt"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// Word classifies an output (docs/architecture.md, "Verdicts").
type Word string

// The words. Commands print no others for an output.
const (
	Match       Word = "MATCH"       // built here from source, digest as published
	Mismatch    Word = "MISMATCH"    // built here from the tree's current definitions, digest differs, no definition changed
	Changed     Word = "CHANGED"     // built here, digest differs, definitions changed
	Unproven    Word = "UNPROVEN"    // in out/, but not built here or not from the tree's current definitions
	Missing     Word = "MISSING"     // not in out/
	Unpublished Word = "UNPUBLISHED" // no published digest for this output and platform
)

// Verdict is a word about one output, with its evidence.
type Verdict struct {
	Ref  graph.Ref
	Word Word
	Got  oci.Digest // in out/, zero if MISSING
	Want oci.Digest // published, zero if UNPUBLISHED
	// Given counts the inputs in the closure that are not themselves MATCH: a
	// MATCH with Given > 0 is conditional on them.
	Given int
	// Engines are the engines elsewhere whose word a MATCH rests on: those that it or
	// anything in its closure was built on, sorted by name. None: all was built here, by
	// the embedded engine.
	Engines []Engine
	// Each are engines, two or more, each of which built the output and all in its closure
	// that was built here, with equal results; the embedded one may be among them.
	Each []Engine
	// Builders are the engines elsewhere that the output itself was built on; none if the
	// embedded one built it.
	Builders []Engine
	// Cached reports that an engine elsewhere may have used its cache, which counts
	// as one of Given.
	Cached bool
	// Damaged reports that out/ holds a damaged layout.
	Damaged bool
	// Unread is set if the published digest is unknown because something in digests/
	// cannot be read. The word is then MISSING or UNPROVEN.
	Unread bool
	// Against names the source of the published digests if it is not the tree's
	// digests/.
	Against string
	// Tainted are the outputs whose divergence explains that of a MISMATCH: see
	// [Verdict.Own].
	Tainted []graph.Ref
	// Note explains the word to the user.
	Note string
}

// Own reports whether v is a MISMATCH that no dependency explains.
func (v Verdict) Own() bool { return v.Word == Mismatch && len(v.Tainted) == 0 }

// Full reports whether v is a MATCH without conditions.
func (v Verdict) Full() bool { return v.Word == Match && v.Given == 0 }

// String returns the word with its conditions.
func (v Verdict) String() string {
	s := string(v.Word)
	if v.Word == Mismatch && len(v.Tainted) > 0 {
		s = "tainted by " + joinRefs(v.Tainted)
	}
	if on := v.On(); on != "" && v.Word == Match {
		s += " (on " + on + ")"
	}
	if v.Against != "" {
		s += " (against " + v.Against + ")"
	}
	if v.Word != Match {
		return s
	}
	switch v.Given {
	case 0:
	case 1:
		s += " given 1 unproven input"
	default:
		s += fmt.Sprintf(" given %d unproven inputs", v.Given)
	}
	return s
}

// On names the engines that a MATCH rests on, "" if that is the embedded one alone.
func (v Verdict) On() string {
	if len(v.Each) > 1 {
		return "each of " + joinFirst(v.Each, maxEngines, engineName)
	}
	return joinFirst(v.Engines, maxEngines, engineName)
}

func engineName(e Engine) string { return e.Name }

// EnginesOf returns the engines elsewhere that verdicts rest on, each once, sorted by name.
func EnginesOf(vs []Verdict) (all []Engine) {
	seen := map[Engine]bool{}
	for _, v := range vs {
		for _, e := range v.Engines {
			if !seen[e] {
				seen[e], all = true, append(all, e)
			}
		}
	}
	sortEngines(all)
	return all
}

// Places names engines, with the addresses of those that have a name of the user's; "" if
// there are none.
func Places(all []Engine) string { return joinFirst(all, maxEngines, Engine.Place) }

// How many names a line lists.
const (
	maxTainted = 3
	maxEngines = 8
)

func joinRefs(refs []graph.Ref) string { return joinFirst(refs, maxTainted, graph.Ref.String) }

// joinFirst joins the texts of the first n, and says how many more there are.
func joinFirst[T any](all []T, n int, format func(T) string) string {
	var texts []string
	for _, one := range all[:min(len(all), n)] {
		texts = append(texts, format(one))
	}
	said := strings.Join(texts, ", ")
	if more := len(all) - len(texts); more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}
