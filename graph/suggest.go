package graph

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// maxDistance is how many edits away a suggestion may be, as in BuildKit's own
// util/suggest.
const maxDistance = 2

const maxSuggestions = 3

// suggest returns the options that are nearest to name and equally near, sorted
// and at most three of them.
func suggest(name string, options []string) []string {
	type candidate struct {
		option   string
		distance int
	}
	var near []candidate
	for _, option := range options {
		if abs(len(option)-len(name)) > maxDistance || option == name {
			continue
		}
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(option), nil); d <= maxDistance {
			near = append(near, candidate{option, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.option, b.option))
	})
	var out []string
	for _, c := range near[:min(len(near), maxSuggestions)] {
		if c.distance == near[0].distance {
			out = append(out, c.option)
		}
	}
	return out
}

// didYouMean ends a message; it is empty when nothing is near.
func didYouMean(suggestions []string) string {
	if len(suggestions) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(suggestions, ", ") + "?"
}

func abs(n int) int { return max(n, -n) }
