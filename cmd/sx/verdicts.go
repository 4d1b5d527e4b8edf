package main

import (
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// printVerdict writes a line: output, digest, word, evidence.
func printVerdict(w io.Writer, v verdict.Verdict) {
	digest := strings.Repeat("-", 64)
	if !v.Got.IsZero() {
		digest = v.Got.Hex()
	}
	line := digest + " " + v.Ref.String() + " " + paintWord(v)
	if v.Word == verdict.Mismatch || v.Word == verdict.Changed {
		line += ", published " + v.Want.Hex()
	}
	if v.Note != "" {
		line += " (" + text.Field(v.Note) + ")"
	}
	io.WriteString(w, line+"\n")
}

// printCounts writes how many there are of each word and returns the counts.
func printCounts(w io.Writer, vs []verdict.Verdict) map[verdict.Word]int {
	counts := map[verdict.Word]int{}
	for _, v := range vs {
		counts[v.Word]++
	}
	fmt.Fprintln(w, countWords(vs))
	return counts
}

// countWords says how many outputs there are, and how many verdicts of each word. The
// verdicts on one output follow each other.
func countWords(vs []verdict.Verdict) string {
	counts := map[verdict.Word]int{}
	outputs := 0
	for i, v := range vs {
		counts[v.Word]++
		if i == 0 || v.Ref != vs[i-1].Ref {
			outputs++
		}
	}
	var parts []string
	for _, word := range []verdict.Word{verdict.Match, verdict.Mismatch, verdict.Changed, verdict.Unproven, verdict.Missing, verdict.Unpublished} {
		if n := counts[word]; n > 0 {
			part := fmt.Sprintf("%d %s", n, word)
			if notes := matchNotes(vs); word == verdict.Match && len(notes) > 0 {
				part += " (" + strings.Join(notes, "; ") + ")"
			}
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing was compared"}
	}
	of := count(outputs, "output")
	if outputs < len(vs) { // each is held against several sources
		of += ", " + count(len(vs), "verdict")
	}
	return of + ": " + strings.Join(parts, ", ")
}

// matchNotes returns the conditions of the outputs that are MATCH: how many were built
// on another engine, and how many depend on unproven inputs.
func matchNotes(vs []verdict.Verdict) (notes []string) {
	given, elsewhere, cached := 0, 0, false
	for _, v := range vs {
		if v.Word != verdict.Match {
			continue
		}
		if len(v.Engines) > 0 {
			elsewhere++
		}
		if v.Given > 0 {
			given++
		}
		cached = cached || v.Cached
	}
	if elsewhere > 0 {
		notes = append(notes, fmt.Sprintf("%d of them on %s", elsewhere, verdict.Places(verdict.EnginesOf(vs))))
	}
	if given > 0 {
		notes = append(notes, fmt.Sprintf("%d of them given unproven inputs", given))
	}
	if cached { // an unproven input that is not an output
		notes = append(notes, "the cache of an engine elsewhere counts as one for each output built on it: --no-cache builds without it")
	}
	return notes
}

// count returns "1 output" or "2 outputs".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
