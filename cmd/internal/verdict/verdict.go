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
	// Engine is the kind of engine that built it, "" for the embedded one.
	Engine string
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
	if v.Engine != "" && v.Word == Match {
		s += " (on " + v.Engine + ")"
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

// maxTainted is how many names a line lists.
const maxTainted = 3

func joinRefs(refs []graph.Ref) string {
	var names []string
	for _, ref := range refs[:min(len(refs), maxTainted)] {
		names = append(names, ref.String())
	}
	said := strings.Join(names, ", ")
	if more := len(refs) - len(names); more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}
