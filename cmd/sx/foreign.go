package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// foreignImages returns a function that refuses images of hosts that the user's settings
// do not allow. Its error has the line of stagex.toml that would.
func foreignImages(set settings.Settings) func(graph.Image) error {
	hosts := set.Registries.Foreign
	return func(i graph.Image) error {
		if slices.Contains(hosts, i.Host) {
			return nil
		}
		return &foreignHostError{i.Host, hosts}
	}
}

// foreignHostError means that a definition uses an image of a host that the user does
// not allow.
type foreignHostError struct {
	host    string
	allowed []string
}

func (e *foreignHostError) Error() string {
	file := cmp.Or(settings.UserFile(os.Getenv), "~/.config/sx/"+settings.FileName)
	return fmt.Sprintf("it is an image of %s, from which nothing is pulled unless you allow it: put foreign = %q below [registries] in %s; it then counts as an unproven input",
		e.host, strings.Join(append(slices.Clone(e.allowed), e.host), ", "), file)
}

// printImages prints the images of other registries that the builds of a plan use.
func printImages(w io.Writer, p *plan.Plan) {
	by := map[string][]graph.Ref{}
	for _, s := range p.Steps {
		for _, i := range s.Request.Images {
			if s.Action == plan.ActionBuild && !slices.Contains(by[i.Source()], s.Output.Ref) {
				by[i.Source()] = append(by[i.Source()], s.Output.Ref)
			}
		}
	}
	var sources []string
	for source := range by {
		sources = append(sources, source)
	}
	slices.Sort(sources)
	for _, source := range sources {
		fmt.Fprintf(w, "%s: from another registry, an unproven input of %s\n", text.Field(source), names(by[source]))
	}
}

// printForeign prints the images of other registries in an output's closure.
func printForeign(w io.Writer, images []graph.Image) {
	for _, i := range images {
		said := i.Source()
		if i.Platform != "" {
			said += " for " + i.Platform
		}
		fmt.Fprintf(w, "  unproven   %s, from another registry: no build here can prove it\n", text.Field(said))
	}
}
