package verdict

import (
	"fmt"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// Word is what is known of an output (docs/architecture.md, "Verdicts").
type Word string

// The words. No other is ever printed for an output.
const (
	Match       Word = "MATCH"       // built here from source, digest as published
	Mismatch    Word = "MISMATCH"    // built here from what the tree says now, digest differs, definitions as published
	Changed     Word = "CHANGED"     // built here, digest differs, as it may: the definitions changed
	Unproven    Word = "UNPROVEN"    // present, not built here, or from something else than the tree says now
	Missing     Word = "MISSING"     // not in out/
	Unpublished Word = "UNPUBLISHED" // no published digest for this output and platform
)

// Verdict is a word about one output, with its evidence.
type Verdict struct {
	Ref  graph.Ref
	Word Word
	Got  oci.Digest // what is in out/, zero when MISSING
	Want oci.Digest // what is published, zero when UNPUBLISHED
	// Given counts the inputs in the closure that are not themselves MATCH: a
	// MATCH with Given > 0 is conditional on them.
	Given int
	// Engine is set where it is not the embedded one.
	Engine string
	// Cached is set where that engine may have used its cache, which counts as one
	// of Given.
	Cached bool
	// Damaged is set where out/ holds something that is not whole.
	Damaged bool
	// Against is set if the published digests are not the tree's: where they come from.
	Against string
	// Note says more, for a person.
	Note string
}

// Full reports whether v is a MATCH without conditions.
func (v Verdict) Full() bool { return v.Word == Match && v.Given == 0 }

// String is the word and its conditions.
func (v Verdict) String() string {
	s := string(v.Word)
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
