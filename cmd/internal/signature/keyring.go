package signature

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Keyring is the keys that the user trusts, and whose they are.
type Keyring struct {
	Keys []Trusted // sorted by fingerprint
}

// Trusted is a key and the person that it stands for.
type Trusted struct {
	Person string // the name that the user gave, or the key's fingerprint
	Key    *Key
}

// Add puts a key into r, or merges it with the copy that is there. Person is "" for no name: a key that is there keeps the
// one it has, and a new one stands for itself. See [SamePerson] for which names are one.
func (r *Keyring) Add(person string, key *Key) (Trusted, error) {
	if err := checkPerson(person); err != nil {
		return Trusted{}, err
	}
	for _, t := range r.Keys {
		if SamePerson(t.Person, person) {
			person = t.Person
		}
		if sub := shared(t.Key, key); t.Key.Fingerprint != key.Fingerprint && sub != "" {
			return Trusted{}, fmt.Errorf("the subkey %s is in the trusted key %s too, and would count for two", sub, t.Key.Fingerprint)
		}
	}
	at, found := slices.BinarySearchFunc(r.Keys, key.Fingerprint, func(t Trusted, f string) int { return cmp.Compare(t.Key.Fingerprint, f) })
	if !found {
		r.Keys = slices.Insert(r.Keys, at, Trusted{Person: cmp.Or(person, key.Fingerprint), Key: key})
		return r.Keys[at], nil
	}
	merged, err := r.Keys[at].Key.Merge(key)
	if err != nil {
		return Trusted{}, err
	}
	r.Keys[at] = Trusted{Person: cmp.Or(person, r.Keys[at].Person), Key: merged}
	return r.Keys[at], nil
}

// shared returns the fingerprint of a key that is part of both.
func shared(a, b *Key) string {
	for _, p := range a.parts() {
		for _, q := range b.parts() {
			if fingerprint := fmt.Sprintf("%X", p.Fingerprint); fingerprint == fmt.Sprintf("%X", q.Fingerprint) {
				return fingerprint
			}
		}
	}
	return ""
}

// checkPerson takes a name that fits into one line of a file and into a list with commas.
func checkPerson(name string) error {
	odd := func(r rune) bool { return r == ',' || !unicode.IsPrint(r) }
	if len(name) > 100 || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) || strings.TrimSpace(name) != name {
		return fmt.Errorf("want a person's name of at most 100 bytes in printable characters, without commas, not %.120q", name)
	}
	return nil
}

// SamePerson reports that two names are one: they read the same, whatever the capitals, the spaces between words, and the
// code points that a letter with an accent is made of.
func SamePerson(a, b string) bool {
	plain := func(name string) string { return strings.Join(strings.Fields(norm.NFKC.String(name)), " ") }
	return strings.EqualFold(plain(a), plain(b))
}

// Find returns the key with a primary fingerprint, in capitals or not, with spaces in it or not.
func (r *Keyring) Find(fingerprint string) (Trusted, bool) {
	fingerprint = CleanFingerprint(fingerprint)
	for _, t := range r.Keys {
		if t.Key.Fingerprint == fingerprint {
			return t, true
		}
	}
	return Trusted{}, false
}

// CleanFingerprint brings what gpg prints, in groups or not, into the one spelling that Key.Fingerprint has.
func CleanFingerprint(text string) string {
	text = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "0X")
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == ':' {
			return -1
		}
		return r
	}, text)
}

// People returns who has a key in r, sorted.
func (r *Keyring) People() (out []string) {
	for _, t := range r.Keys {
		out = append(out, t.Person)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
