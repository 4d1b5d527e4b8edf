package release

import (
	"fmt"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// The conditions of a MATCH that may be accepted for a release.
const (
	AcceptGiven = "given" // MATCH given unproven inputs
	AcceptOn    = "on"    // MATCH on an engine that is not the embedded one
)

// Accept lists conditions.
type Accept []string

// ParseAccept reads the names of conditions.
func ParseAccept(names []string) (Accept, error) {
	for _, name := range names {
		if name != AcceptGiven && name != AcceptOn {
			return nil, fmt.Errorf("want %s or %s, not %q", AcceptGiven, AcceptOn, name)
		}
	}
	return names, nil
}

// Gate divides the verdicts of a release's outputs: accepted lists those that are published
// because of accept alone, the error is a *publish.RefusedError with those that are not
// published. A release consists of outputs that are MATCH.
func Gate(vs []verdict.Verdict, accept Accept) (accepted []verdict.Verdict, err error) {
	refused := &publish.RefusedError{Doing: "refusing to release"}
	for _, v := range vs {
		needs := conditions(v)
		missing := slices.DeleteFunc(slices.Clone(needs), func(c string) bool { return slices.Contains(accept, c) })
		switch {
		case v.Word != verdict.Match:
			refused.Refusals = append(refused.Refusals, publish.Refusal{Ref: v.Ref, Word: v.Word, Reason: reason(v)})
		case len(missing) > 0:
			refused.Refusals = append(refused.Refusals, publish.Refusal{Ref: v.Ref, Word: v.Word, Reason: v.String()})
			refused.Remedy = "sx build without --preseed and --engine proves them; --accept " + strings.Join(missing, ",") + " releases them as they are"
		case len(needs) > 0:
			accepted = append(accepted, v)
		}
	}
	if len(refused.Refusals) > 0 {
		return nil, refused
	}
	return accepted, nil
}

// conditions are the names of those under which v is MATCH.
func conditions(v verdict.Verdict) (names []string) {
	if v.Word != verdict.Match {
		return nil
	}
	if len(v.Engines) > 0 {
		names = append(names, AcceptOn)
	}
	if v.Given > 0 {
		names = append(names, AcceptGiven)
	}
	return names
}

func reason(v verdict.Verdict) string {
	s := v.String()
	switch v.Word {
	case verdict.Mismatch, verdict.Changed:
		s += fmt.Sprintf(": built as %s, published as %s", v.Got, v.Want)
	case verdict.Unpublished:
		s += ": digests/ has no line for it; sx digests --write writes one"
	}
	if v.Note != "" {
		s += " (" + v.Note + ")"
	}
	return s
}
