package signers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/lookaside"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Namespace begins every repository in a signature's payload, whatever registry the
// image comes from.
const Namespace = "stagex/"

// Version returns the version in the manifest of an image.
type Version func(ctx context.Context, img signature.Image) (string, error)

// A Lookup finds and judges the signatures of images. It is safe for concurrent use.
type Lookup struct {
	Source  *lookaside.Source
	Ring    *signature.Keyring
	Quorum  int // how many people must have signed
	Version Version
}

// Result is what is known of the signatures of one image.
type Result struct {
	signature.Tally
	Err    error // why some signatures could not be read or judged; nil if all were
	Quorum int   // of the Lookup
	NoKeys bool  // the user trusts no key
}

// Enough reports whether as many people signed as the quorum wants.
func (r Result) Enough() bool { return len(r.People) >= r.Quorum }

// Of reads and judges the signatures of an output's image. It asks for the image's
// version only if a payload names one.
func (l *Lookup) Of(ctx context.Context, output string, digest oci.Digest) Result {
	img := signature.Image{Repository: Namespace + output, Digest: digest.Hex(), NoVersion: errors.New("it was not asked for")}
	files, err := l.Source.Files(ctx, img.Repository, img.Digest)
	now := time.Now()
	tally := l.Ring.Judge(img, files, now)
	for _, f := range tally.Findings {
		if f.Person != "" && f.Says.Tag != "" {
			img.Version, img.NoVersion = l.Version(ctx, img)
			tally, err = l.Ring.Judge(img, files, now), errors.Join(err, img.NoVersion)
			break
		}
	}
	return Result{Tally: tally, Err: err, Quorum: l.Quorum, NoKeys: len(l.Ring.Keys) == 0}
}

// Print writes who signed, and why each other file does not count.
func (r Result) Print(w io.Writer) {
	for _, f := range r.Findings {
		if f.Why == nil {
			fmt.Fprintf(w, "    signed by %s (%s, %s, key %s)\n", text.Field(f.Person), f.File, f.Time.Format(time.DateOnly), f.Fingerprint)
			continue
		}
		fmt.Fprintf(w, "    %s does not count%s: %s\n", f.File, maker(f), text.Field(f.Why.Error()))
	}
	if r.Err != nil {
		fmt.Fprintf(w, "    some signatures could not be checked: %s\n", text.Field(r.Err.Error()))
	}
	hint := ""
	if r.NoKeys {
		hint = "; you trust no key yet: sx keys import FILE"
	}
	fmt.Fprintf(w, "    signed by %d of %d different people needed%s\n", len(r.People), r.Quorum, hint)
}

// JSON is a Result as --json prints it. It only gains fields.
type JSON struct {
	People []string   `json:"people"`
	Quorum int        `json:"quorum"`
	Enough bool       `json:"enough"`
	Error  string     `json:"error,omitempty"` // why some could not be read or judged
	Files  []FileJSON `json:"files"`
}

// FileJSON is one signature file of a [JSON].
type FileJSON struct {
	File   string `json:"file"`
	Issuer string `json:"issuer,omitempty"` // the key that it names
	Person string `json:"person,omitempty"`
	Time   string `json:"time,omitempty"`   // its signer's claim
	Image  string `json:"image,omitempty"`  // that it names
	Digest string `json:"digest,omitempty"` // that it names, 64 hexadecimal digits
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"` // it does not count
}

// JSON returns r as --json prints it.
func (r Result) JSON() *JSON {
	out := &JSON{People: append([]string{}, r.People...), Quorum: r.Quorum, Enough: r.Enough(), Files: []FileJSON{}}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	for _, f := range r.Findings {
		one := FileJSON{File: f.File, Issuer: f.Issuer, Person: f.Person, Image: f.Says.Reference, Digest: f.Says.Digest, Counts: f.Why == nil}
		if !f.Time.IsZero() {
			one.Time = f.Time.Format(time.RFC3339)
		}
		if f.Why != nil {
			one.Why = f.Why.Error()
		}
		out.Files = append(out.Files, one)
	}
	return out
}

// maker names the key that a file claims to be made with and, for an unknown key, the
// image that it signs.
func maker(f signature.Finding) string {
	switch {
	case f.Issuer == "":
		return ""
	case f.Person == "" && f.Says.Digest != "":
		return fmt.Sprintf(", of key %s for %s sha256:%s", f.Issuer, text.Field(f.Says.Reference), f.Says.Digest)
	case f.Person == "" || f.Person == f.Fingerprint:
		return ", of key " + f.Issuer
	}
	return ", of " + text.Field(f.Person) + "'s key " + f.Issuer
}
