package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/pins"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/signers"
	"codeberg.org/stagex/sx/preseed"
)

// What --json prints only gains fields.

type pinFileJSON struct {
	File  string    `json:"file"`
	Mixed bool      `json:"mixed"` // no one release has all digests
	Pins  []pinJSON `json:"pins"`
}

type pinJSON struct {
	Line       int           `json:"line"`   // from 1
	Column     int           `json:"column"` // from 1, in bytes
	Reference  string        `json:"reference"`
	Output     string        `json:"output"`
	Tag        string        `json:"tag,omitempty"`
	Digest     string        `json:"digest,omitempty"` // 64 hexadecimal digits
	State      pins.State    `json:"state"`            // "release", "tag only", "unknown"
	Why        string        `json:"why,omitempty"`
	Releases   []string      `json:"releases"` // that the digest is of, from the oldest
	Newest     string        `json:"newest,omitempty"`
	Latest     string        `json:"newest_digest,omitempty"`
	Gone       string        `json:"gone,omitempty"` // later releases have no such output
	Current    bool          `json:"current"`        // the digest is that of the newest release
	Signatures *signers.JSON `json:"signatures,omitempty"`
}

type pinChangeJSON struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Output string `json:"output"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`  // missing if it stays
	Why    string `json:"why,omitempty"` // it stays
}

func printPinsJSON(w io.Writer, files []*pinFile, seen pinSigners) error {
	all := []pinFileJSON{}
	for _, f := range files {
		one := pinFileJSON{f.name, pins.Mixed(f.found), []pinJSON{}}
		for _, p := range f.found {
			j := pinJSON{
				p.Line, p.Column, p.Reference, p.Output, p.Tag, p.Digest, p.State, p.Why, append([]string{}, p.Releases...),
				p.Newest, p.Latest, p.Gone, p.Current(), nil,
			}
			if r := seen[signedPin{p.Output, p.Digest}]; r != nil {
				j.Signatures = r.JSON()
			}
			one.Pins = append(one.Pins, j)
		}
		all = append(all, one)
	}
	return printJSON(w, map[string]any{"files": all})
}

// A signedPin is what signatures are of.
type signedPin struct{ output, digest string }

// pinSigners are who signed; nil if that is not asked.
type pinSigners map[signedPin]*signers.Result

// signersOfPins looks up who signed each digest of the files.
func signersOfPins(ctx context.Context, a *app, files []*pinFile, o pinsOptions) (pinSigners, error) {
	if !o.signed {
		return nil, nil
	}
	set, err := userSettings(a)
	if err != nil {
		return nil, err
	}
	from, err := o.signatures.place(set, "")
	if err != nil {
		return nil, err
	}
	client, err := preseed.NewClient(registryClient(set))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	l, err := newLookup(set, from, func(ctx context.Context, img signature.Image) (string, error) {
		d, err := oci.ParseHexDigest(img.Digest)
		if err != nil {
			return "", err
		}
		return signers.PublishedVersion(ctx, client, repositoriesOf(set, strings.TrimPrefix(img.Repository, "stagex/")), d)
	})
	if err != nil {
		return nil, err
	}
	defer l.Source.Close()
	seen := pinSigners{}
	for _, f := range files {
		for _, p := range f.found {
			d, err := oci.ParseHexDigest(p.Digest)
			if k := (signedPin{p.Output, p.Digest}); err == nil && seen[k] == nil {
				r := l.Of(ctx, p.Output, d)
				seen[k] = &r
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
	}
	return seen, nil
}

func (s pinSigners) print(w io.Writer, p pins.Finding) {
	if r := s[signedPin{p.Output, p.Digest}]; r != nil {
		r.Print(w)
	} else if s != nil {
		fmt.Fprintln(w, "    has no digest that could be signed")
	}
}

// err is the code of the worst.
func (s pinSigners) err() error {
	codes := []int{exitOK}
	for _, r := range s {
		codes = append(codes, signedCode(r))
	}
	if code := worst(codes...); code != exitOK {
		return codeError(code)
	}
	return nil
}
