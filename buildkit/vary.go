package buildkit

import (
	"fmt"
	"slices"
	"strings"
)

// Variation is something of a machine that an engine can change for every RUN. A build
// whose bytes depend on it is not reproducible.
type Variation string

// The variations, with what a RUN sees instead.
const (
	VaryCPUs     Variation = "cpus"     // one processor, by the affinity of its processes
	VaryUmask    Variation = "umask"    // [VariedUmask], not 0022
	VaryHostname Variation = "hostname" // [VariedHostname], not BuildKit's
	VaryKernel   Variation = "kernel"   // uname(2) gives 2.6.x as the release (personality UNAME26)
)

// Variations are all of them, in the order in which they are listed.
var Variations = []Variation{VaryCPUs, VaryUmask, VaryHostname, VaryKernel}

// What the variations set.
const (
	VariedUmask    = 0o002
	VariedHostname = "sx-varied"
)

// ParseVariations reads names of variations, separated by commas: "cpus,umask".
func ParseVariations(text string) (all []Variation, err error) {
	for name := range strings.SplitSeq(text, ",") {
		v := Variation(strings.TrimSpace(name))
		if !slices.Contains(Variations, v) {
			return nil, fmt.Errorf("%.40q cannot be varied; what can: %s", name, ListVariations(Variations))
		}
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all, nil
}

// ListVariations returns "cpus, umask".
func ListVariations(all []Variation) string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}
