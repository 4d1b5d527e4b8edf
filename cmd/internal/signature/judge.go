package signature

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// An Image is what signatures are held against.
type Image struct {
	Repository string // path below the host: "stagex/core-musl"
	Digest     string // of the image manifest, 64 hexadecimal digits
	Version    string // what the manifest's image.version says
	NoVersion  error  // why the version is not known; a payload with a tag does not count then
}

// A File is a signature file as it was found.
type File struct {
	Name string // "signature-1"
	Data []byte
	Err  error // why it was not read
}

// A Finding is what a file is worth.
type Finding struct {
	File        string
	Issuer      string    // the key that the message names, "" if it is no message; foreign, but hexadecimal
	Time        time.Time // when it says it was made; zero if it is no message
	Says        Payload   // what it says, true or not; zero if that is not understood
	Person      string    // whose key it names, "" if it is none of the user's
	Fingerprint string    // of that person's primary key
	Why         error     // why it does not count; nil if it does
}

// A Tally is the outcome for one image.
type Tally struct {
	Findings []Finding // in the order of the files
	People   []string  // different people whose signature counts, sorted
}

// ErrUnknownKey is the reason of a file that none of the user's keys made.
var ErrUnknownKey = errors.New("not one of your keys made it")

// Judge counts the people who signed img.
func (r *Keyring) Judge(img Image, files []File, now time.Time) Tally {
	var t Tally
	first := map[string]string{} // the file of a person that counts
	for _, f := range files {
		found := r.judge(img, f, now)
		if found.Why == nil {
			if before, ok := first[found.Person]; ok {
				found.Why = fmt.Errorf("the same person made %s: people count once", before)
			} else {
				first[found.Person] = f.Name
				t.People = append(t.People, found.Person)
			}
		}
		t.Findings = append(t.Findings, found)
	}
	slices.Sort(t.People)
	return t
}

func (r *Keyring) judge(img Image, f File, now time.Time) Finding {
	found := Finding{File: f.Name, Why: f.Err}
	if f.Err != nil {
		return found
	}
	m, err := ReadMessage(f.Data)
	if err != nil {
		found.Why = err
		return found
	}
	found.Issuer, found.Time, found.Why = m.Issuer, m.Time, ErrUnknownKey
	says, unread := ParsePayload(m.Payload)
	found.Says = says
	for _, t := range r.Keys {
		if !t.Key.Owns(m.Issuer) {
			continue
		}
		found.Person, found.Fingerprint = t.Person, t.Key.Fingerprint
		if found.Why = t.Key.verify(m, now); found.Why == nil {
			if found.Why = unread; unread == nil {
				found.Why = img.matches(says)
			}
			break
		}
	}
	return found
}

// matches returns why a payload says nothing of img.
func (img Image) matches(p Payload) error {
	switch {
	case p.Repository != img.Repository:
		return fmt.Errorf("it signs %.100q, another image", p.Reference)
	case p.Digest != img.Digest:
		return fmt.Errorf("it signs another digest, sha256:%s", p.Digest)
	case p.Tag == "":
		return nil
	case img.NoVersion != nil:
		return fmt.Errorf("it signs the tag %q, and the image's version is not known: %w", p.Tag, img.NoVersion)
	case p.Tag != img.Version:
		return fmt.Errorf("it signs the tag %q, and the image's version is %.100q", p.Tag, img.Version)
	}
	return nil
}
