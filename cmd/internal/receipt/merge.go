package receipt

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/signature"
)

// Want is what the tree says of an output: receipts are held against it.
type Want struct {
	Output string     // "<stage>-<name>"
	Digest oci.Digest // published
	// Key is the hash of all inputs if every dependency is the published image and the
	// engine makes StageX's bytes, hexadecimal; Probe is the digest of such an engine's
	// probe image.
	Key, Probe string
	// Deps are the published digests of the direct dependencies, hexadecimal.
	Deps map[string]string
}

// The states of an output.
const (
	Confirmed = "confirmed" // at least one person got the published digest, and no one another
	Failed    = "failed"    // all whose receipt counts had another digest
	Conflict  = "conflict"  // receipts that count have different digests
	Missing   = "missing"   // no receipt counts
)

// Coverage is what receipts say of one output.
type Coverage struct {
	Output   string     `json:"output"`
	Digest   oci.Digest `json:"published"`
	State    string     `json:"state"`
	People   []string   `json:"people"`      // who had the published digest, sorted
	Machines int        `json:"machines"`    // on which they did
	Vendors  []string   `json:"cpu_vendors"` // of these machines, sorted
	// Against are the receipts with another digest than the published one, as
	// "<person>: sha256:<hex> (<file>)"; if two of them differ, too, all are listed.
	Against []string `json:"against,omitempty"`
}

// Ignored is a receipt that does not count, and why.
type Ignored struct {
	Name   string `json:"receipt"`
	Output string `json:"output,omitempty"` // that it says it is about; "" if it cannot be read
	Why    string `json:"why"`
}

// Sum is what receipts say together.
type Sum struct {
	Outputs []Coverage `json:"outputs"` // in the order of the wanted ones
	Ignored []Ignored  `json:"ignored"`
	// People counts those who confirm every output: the least number of any output.
	People int `json:"people"`
}

// Count returns how many outputs are in a state.
func (s Sum) Count(state string) int {
	n := 0
	for _, c := range s.Outputs {
		if c.State == state {
			n++
		}
	}
	return n
}

// Check returns for each receipt why it does not count for the wanted outputs, nil if it
// does: it has no signature that counts, is about other outputs or inputs, or repeats another one.
func Check(wanted []Want, receipts []Receipt) []error {
	want, seen := map[string]Want{}, map[string]string{}
	for _, w := range wanted {
		want[w.Output] = w
	}
	whys := make([]error, len(receipts))
	for i, r := range receipts {
		w, ok := want[r.output()]
		switch {
		case r.Why != nil:
			whys[i] = r.Why
		case !ok:
			whys[i] = errElsewhere
		default:
			if whys[i] = w.counts(r); whys[i] == nil {
				whys[i] = duplicate(seen, r)
			}
		}
	}
	return whys
}

// errElsewhere is the reason of a receipt on an output that is not wanted.
var errElsewhere = errors.New("it is about an output that is not selected, not in this tree, or not in digests/")

// Merge adds up receipts on the wanted outputs. Those that count for none but are
// somebody's word on another output are passed over.
func Merge(wanted []Want, receipts []Receipt) Sum {
	sum := Sum{Ignored: []Ignored{}, Outputs: []Coverage{}}
	byOutput := map[string][]Receipt{}
	for i, why := range Check(wanted, receipts) {
		r := receipts[i]
		switch {
		case why == nil:
			byOutput[r.output()] = append(byOutput[r.output()], r)
		case why != errElsewhere:
			sum.Ignored = append(sum.Ignored, Ignored{r.Name, r.output(), why.Error()})
		}
	}
	for i, w := range wanted {
		c := cover(w, byOutput[w.Output])
		sum.Outputs = append(sum.Outputs, c)
		n := len(c.People)
		if c.State != Confirmed {
			n = 0
		}
		if i == 0 || n < sum.People {
			sum.People = n
		}
	}
	return sum
}

// output is safe for a receipt that could not be read.
func (r Receipt) output() string {
	if len(r.Subject) == 0 {
		return ""
	}
	return r.Output()
}

// counts returns why a receipt that is somebody's word says nothing of w.
func (w Want) counts(r Receipt) error {
	in := r.Predicate.BuildDefinition.Internal
	switch {
	case !in.NoCache:
		return errors.New("it may have used a cache")
	case in.Probe != w.Probe:
		return errors.New("its engine does not produce StageX's bytes")
	case r.Key() == w.Key:
		return nil
	}
	for _, d := range r.Predicate.BuildDefinition.Resolved {
		if d.Annotations["kind"] != KindOutput {
			continue
		}
		name := d.Name[min(len(d.Name), len(Namespace)):]
		if published := w.Deps[name]; published == "" {
			return fmt.Errorf("it was built from %.100q, which is no dependency in this tree", name)
		} else if published != d.Digest["sha256"] {
			return fmt.Errorf("it was built from another image of %s than the published one", name)
		}
	}
	return errors.New("it was built from other definitions or sources than this tree's, or by an sx that describes them otherwise")
}

// duplicate notes r, and returns why it does not count a second time.
func duplicate(seen map[string]string, r Receipt) error {
	id := r.Person + "\x00" + string(r.Statement.Bytes())
	if before, ok := seen[id]; ok {
		return fmt.Errorf("it says what %s says, for the same person", before)
	}
	seen[id] = r.Name
	return nil
}

// cover adds up the receipts on one output that count.
func cover(w Want, receipts []Receipt) Coverage {
	c := Coverage{Output: w.Output, Digest: w.Digest, People: []string{}, Vendors: []string{}}
	machines, digests := map[string]bool{}, map[oci.Digest]bool{}
	for _, r := range receipts {
		digests[r.Digest()] = true
		if r.Digest() != w.Digest {
			c.Against = append(c.Against, fmt.Sprintf("%s: %s (%s)", r.Person, r.Digest(), r.Name))
			continue
		}
		if !slices.ContainsFunc(c.People, func(p string) bool { return signature.SamePerson(p, r.Person) }) {
			c.People = append(c.People, r.Person)
		}
		machines[r.machine()] = true
		if vendor := r.Machine().CPUVendor; vendor != "" && !slices.Contains(c.Vendors, vendor) {
			c.Vendors = append(c.Vendors, vendor)
		}
	}
	slices.Sort(c.People)
	slices.Sort(c.Vendors)
	c.Machines = len(machines)
	switch {
	case len(receipts) == 0:
		c.State = Missing
	case len(digests) > 1:
		c.State = Conflict
	case len(c.Against) > 0:
		c.State = Failed
	default:
		c.State = Confirmed
	}
	return c
}

// machine tells machines apart: by their key or, if a person signed, as those of the
// person by their description.
func (r Receipt) machine() string {
	m := r.Machine()
	return cmp.Or(r.MachineKey, r.Person+"\x00"+m.CPUVendor+"\x00"+m.CPUModel)
}
