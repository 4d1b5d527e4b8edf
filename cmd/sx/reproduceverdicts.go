package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/reproduce"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// summarize prints the verdicts and what they rest on. The error is the exit code.
func (r *reproduction) summarize(report *driver.Report, display *progress.Display) error {
	judge, done := panel.Own(report.View)
	defer done()
	vs, basis := reproduce.Judge(judge, r.refs)
	lost := map[graph.Ref]bool{}
	for _, res := range report.Results {
		lost[res.Ref] = !res.Outcome.OK()
	}
	for i, b := range r.plan.Blocked {
		at := slices.IndexFunc(vs, func(v verdict.Verdict) bool { return v.Ref == b.Ref })
		vs[at].Note = r.plan.Blocked[i].Why
		if vs[at].Want.IsZero() {
			vs[at].Word = verdict.Unpublished
		}
	}
	vs = slices.DeleteFunc(vs, func(v verdict.Verdict) bool { return lost[v.Ref] })
	display.Judged(vs)
	if r.json {
		return errors.Join(r.printJSON(vs, basis), reproducedCode(vs))
	}
	for _, v := range vs {
		printVerdict(r.stdout, v)
	}
	printCounts(r.stdout, vs)
	r.printBasis(vs, basis)
	r.printNext(vs)
	return reproducedCode(vs)
}

// printNext writes for each own divergence the command that tells more: sx diff of a name
// alone would look into out/.
func (r *reproduction) printNext(vs []verdict.Verdict) {
	for _, v := range vs {
		if v.Own() {
			fmt.Fprintf(r.stderr, "sx: differs  %s: what differs: sx diff %s %s/%s@%s\n", v.Ref,
				text.Field(r.area.Tree.Store.Out(v.Ref.String())), r.images(), v.Ref, v.Want)
		}
	}
}

// images returns the first registry that images are pulled from, "host/namespace".
func (r *reproduction) images() string {
	if registries := preseedSettings(r.set).Registries; len(registries) > 0 {
		return registries[0].String()
	}
	return "docker.io/stagex"
}

// reproducedCode returns the exit code for verdicts as an error, nil if all digests are
// the published ones.
func reproducedCode(vs []verdict.Verdict) error {
	code := exitOK
	for _, v := range vs {
		switch v.Word {
		case verdict.Match:
		case verdict.Mismatch:
			code = exitMismatch
		default:
			code = cmp.Or(code, exitUnproven)
		}
	}
	if code == exitOK {
		return nil
	}
	return codeError(code)
}

// printBasis writes what the verdicts rest on.
func (r *reproduction) printBasis(vs []verdict.Verdict, b reproduce.Basis) {
	own := map[graph.Ref]bool{}
	for _, v := range vs {
		if v.Own() {
			own[v.Ref] = true
		}
	}
	if len(own) > 0 {
		fmt.Fprintf(r.stdout, "first divergence: %s: built from the published images of its dependencies, it has another digest\n",
			names(slices.SortedFunc(maps.Keys(own), graph.Ref.Compare)))
	}
	switch {
	case r.area.Images == nil && allFull(vs) == len(vs):
		fmt.Fprintf(r.stdout, "built from the seed: %s, of no published image%s\n", count(len(b.Closure), "output"), restsOn(b))
	case r.area.Images == nil:
	case len(b.Open) == 0 && allFull(vs) == len(vs):
		fmt.Fprintf(r.stdout, "proven by induction: %s, each built without a cache from published images that are proven so themselves; rests on the isolation of the engine that these images ran in%s\n",
			count(len(b.Closure), "output"), restsOn(b))
	case len(b.Open) > 0:
		fmt.Fprintf(r.stdout, "rests on published images: of the %s in the closure, %d are not proven here: %s\n",
			count(len(b.Closure), "output"), len(b.Open), names(b.Open))
	}
}

// restsOn says which engines elsewhere a proof rests on.
func restsOn(b reproduce.Basis) string {
	if len(b.Engines) == 0 {
		return ""
	}
	of := "engine"
	if len(b.Engines) > 1 {
		of = "engines"
	}
	return "; and on the word of the " + of + " elsewhere, on " + verdict.Places(b.Engines)
}

// reproducedJSON is what `sx reproduce --json` prints. It only gains fields.
type reproducedJSON struct {
	Outputs []verdictJSON `json:"outputs"`
	// Closure counts the outputs in the closure of Outputs; Open are those of it that
	// are not proven here.
	Closure  int         `json:"closure"`
	Open     []graph.Ref `json:"open"`
	FromSeed bool        `json:"from_seed"`
	// Engines names the engines elsewhere that built something in the closure.
	Engines []string `json:"engines,omitempty"`
	// RestsOn are the same, with kind and address.
	RestsOn []verdict.Engine `json:"rests_on,omitempty"`
}

func (r *reproduction) printJSON(vs []verdict.Verdict, b reproduce.Basis) error {
	var engines []string
	for _, e := range b.Engines {
		engines = append(engines, e.Name)
	}
	return printJSON(r.stdout, reproducedJSON{verdictsJSON(vs, nil), len(b.Closure), append([]graph.Ref{}, b.Open...), r.area.Images == nil, engines, b.Engines})
}
