package pins

import (
	"fmt"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
)

// A State is what is known of a pin.
type State string

// The states.
const (
	Known   State = "release"  // its digest is that of its output, in Releases
	TagOnly State = "tag only" // it has no digest: it may be another image tomorrow
	Unknown State = "unknown"  // no release lists its digest for its output
)

// A Finding is what a pin is.
type Finding struct {
	Pin
	State    State
	Releases []string // that list the digest for the output, from the oldest
	Why      string   // it is unknown; or what else is wrong
	Newest   string   // the newest release that has the output; "" for none
	Latest   string   // the digits of the output's digest there
	Gone     string   // that later releases have no such output, in words; "" if they have
}

// Current says that the digest is that of the newest release.
func (f Finding) Current() bool { return f.State == Known && f.Digest == f.Latest && f.Gone == "" }

// Outputs returns the outputs of a digest: those of the newest release that lists it, by
// name.
func (r *Releases) Outputs(digits string) (outputs []string) {
	d, err := oci.ParseHexDigest(digits)
	if err != nil {
		return nil
	}
	newest := -1
	for _, at := range r.of[d] {
		if at.release > newest {
			newest, outputs = at.release, nil
		}
		if at.release == newest {
			outputs = append(outputs, at.output)
		}
	}
	slices.Sort(outputs)
	return outputs
}

// Judge says what a pin is.
func (r *Releases) Judge(p Pin) Finding {
	f := Finding{Pin: p, State: Unknown}
	if newest, ok := r.newestOf(p.Output); ok {
		f.Newest, f.Latest = newest.Name, newest.Digests[p.Output].Hex()
		if last, _ := r.Newest(); last.Name != newest.Name {
			f.Gone = fmt.Sprintf("%s has no output %s", last.Name, p.Output) + hint(p.Output, last)
		}
	}
	if p.Digest == "" {
		f.State, f.Why = TagOnly, p.unresolved()
		return f
	}
	d, err := oci.ParseHexDigest(p.Digest)
	if err != nil {
		f.Why = badDigits(p.Digest)
		return f
	}
	others := map[string]bool{}
	for _, at := range r.of[d] {
		if at.output == p.Output {
			f.State = Known
			f.Releases = append(f.Releases, r.list[at.release].Name)
			continue
		}
		others[at.output] = true
	}
	slices.SortFunc(f.Releases, compareNames)
	switch {
	case f.State == Known:
		if said, ok := strings.CutPrefix(p.Tag, "sx"); ok && IsRelease(said) && !slices.Contains(f.Releases, said) {
			f.Why = "its tag says " + said
		} else if len(p.Also) > 0 {
			f.Why = "or " + strings.Join(p.Also, ", ") + ", of the same digest"
		}
	case p.Variable != "" && p.Output != "" && strings.Contains(p.Output, "$"):
		f.Why = p.unresolved()
	case len(others) > 0:
		names := make([]string, 0, len(others))
		for name := range others {
			names = append(names, name)
		}
		slices.Sort(names)
		f.Why = "its digest is of " + strings.Join(names, ", ")
	case f.Newest == "":
		f.Why = "no release has this output, nor this digest"
	default:
		f.Why = "no release lists this digest"
	}
	return f
}

// unresolved says why a variable of a pin stays; "" if it has none.
func (p Pin) unresolved() string {
	switch {
	case p.Variable == "":
		return ""
	case p.Several:
		return p.Variable + " has several values in this file"
	}
	return p.Variable + " has no value in this file"
}

// badDigits says what is wrong with a digest.
func badDigits(digits string) string {
	if _, err := oci.ParseHexDigest(strings.ToLower(digits)); err == nil {
		return "its digest has capital letters, which no registry takes"
	}
	return "its digest is not 64 hexadecimal digits"
}

// Mixed says that no one release has all digests of these pins.
func Mixed(all []Finding) bool {
	var common []string
	first := true
	for _, f := range all {
		if f.State != Known {
			continue
		}
		if first {
			common, first = slices.Clone(f.Releases), false
			continue
		}
		common = slices.DeleteFunc(common, func(name string) bool { return !slices.Contains(f.Releases, name) })
	}
	return !first && len(common) == 0
}

// A Change is a digest that Update replaced, or did not.
type Change struct {
	Pin
	To  string // the new digits; "" if it stays
	Why string // it stays
}

// Update returns the text with the digests of a release. It replaces digits by digits and
// nothing else. Pins without a digest, and of outputs that the release does not have,
// stay. So do two pins that take one digest from the same variable but would need two,
// and one of a digest that several outputs had which differ now.
func Update(data []byte, all []Pin, to Release) ([]byte, []Change) {
	want := map[int]string{}
	clash := map[int]bool{}
	for _, p := range all {
		d, ok := to.Digests[p.Output]
		if p.to == 0 || !ok {
			continue
		}
		if before, ok := want[p.from]; ok && before != d.Hex() {
			clash[p.from] = true
		}
		want[p.from] = d.Hex()
	}
	out := slices.Clone(data)
	var changes []Change
	for _, p := range all {
		c := Change{Pin: p}
		if c.Why = p.stays(to); c.Why == "" && clash[p.from] {
			c.Why = "another image has its digest from the same variable"
		}
		if to := want[p.from]; c.Why == "" {
			if p.Digest == to {
				continue
			}
			c.To = to
			for _, at := range append([]int{p.from}, p.copies...) {
				copy(out[at:at+len(to)], to)
			}
		}
		changes = append(changes, c)
	}
	return out, changes
}

// stays returns why a pin cannot be brought to a release; "" if it can.
func (p Pin) stays(to Release) string {
	d, ok := to.Digests[p.Output]
	switch {
	case p.to == 0 && p.Variable != "":
		return p.unresolved()
	case p.to == 0:
		return "it has no digest"
	case strings.Contains(p.Output, "$"):
		return p.unresolved()
	case !ok:
		return fmt.Sprintf("%s has no output %s", to.Name, p.Output) + hint(p.Output, to)
	case len(p.Digest) != len(d.Hex()):
		return badDigits(p.Digest)
	case slices.ContainsFunc(p.Also, func(other string) bool { return to.Digests[other] != d }):
		return fmt.Sprintf("its digest is of %s and %s, and the reference names none of them", p.Output, strings.Join(p.Also, ", "))
	}
	return ""
}

// hint names outputs that an old name may stand for: "rust" is "core-rust" since 2025.
func hint(output string, in Release) string {
	var near []string
	for name := range in.Digests {
		if _, after, ok := strings.Cut(name, "-"); ok && after == output {
			near = append(near, name)
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.Sort(near)
	return "; there is " + strings.Join(near, ", ")
}
