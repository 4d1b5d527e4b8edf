package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/lookaside"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/signers"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/preseed"
	"github.com/spf13/pflag"
)

// signatureOptions are the flags of commands that look at signatures.
type signatureOptions struct{ from string }

func (o *signatureOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.from, "signatures-from", "", "where signatures are: a `FOLDER`, a checkout, or an https URL (setting signatures.from)")
}

// place returns where signatures are: the flag's value, the setting, or the tree at dir
// ("" for no tree). A tree's own folder is as good as any, because only the user's keys
// count.
func (o signatureOptions) place(set settings.Settings, dir string) (string, error) {
	switch {
	case strings.Contains(o.from, "://"):
		return o.from, nil
	case o.from != "":
		return filepath.Abs(o.from)
	case set.Signatures.From != "":
		return set.Signatures.From, nil
	case dir != "":
		return dir, nil
	}
	return "", usagef("where are the signatures? Say it with --signatures-from FOLDER|URL, or signatures.from in your stagex.toml")
}

// newLookup opens the place of signatures and the user's keys. The caller closes its
// Source.
func newLookup(set settings.Settings, from string, version signers.Version) (*signers.Lookup, error) {
	ring, _, err := loadKeyring()
	if err != nil {
		return nil, err
	}
	source, err := lookaside.Open(from, userAgent(set))
	if err != nil {
		return nil, usageError{err}
	}
	return &signers.Lookup{Source: source, Ring: ring, Quorum: set.Signatures.Quorum, Version: version}, nil
}

// inBackground calls do with a lookup for outputs of a tree.
func (o signatureOptions) inBackground(t *tree.Tree, set settings.Settings, do func(*signers.Background) error) error {
	from, err := o.place(set, t.Dir)
	if err != nil {
		return err
	}
	client, err := preseed.NewClient(registryClient(set))
	if err != nil {
		return err
	}
	defer client.Close()
	repositories := func(output string) []string { return repositoriesOf(set, output) }
	l, err := newLookup(set, from, signers.LocalVersion(t.Store, client, repositories))
	if err != nil {
		return err
	}
	defer l.Source.Close()
	return do(signers.NewBackground(l))
}

// repositoriesOf lists the repositories in which, by the settings, an output is published.
func repositoriesOf(set settings.Settings, output string) (all []string) {
	for _, r := range preseedSettings(set).Registries {
		all = append(all, r.Repository(output))
	}
	return all
}

// signedCode returns the exit code for a digest whose signatures are r.
func signedCode(r *signers.Result) int {
	switch {
	case r.Enough():
		return exitOK
	case r.Err != nil && !errors.Is(r.Err, signers.ErrNoDigest):
		return exitFetch
	}
	return exitUnsigned
}

// printSigned writes each verdict with the signatures of its digest: results are in the
// order of vs. The error is a code, if too few people signed one of them.
func printSigned(w io.Writer, vs []verdict.Verdict, results []*signers.Result, quorum int) error {
	codes, enough := []int{exitOK}, 0
	for i, v := range vs {
		printVerdict(w, v)
		if v.Got.IsZero() && !v.Want.IsZero() {
			fmt.Fprintf(w, "    of the published digest %s:\n", v.Want.Hex())
		}
		results[i].Print(w)
		codes = append(codes, signedCode(results[i]))
		if results[i].Enough() {
			enough++
		}
	}
	fmt.Fprintf(w, "%s: %d signed by %d people or more\n", count(len(vs), "output"), enough, quorum)
	if code := worst(codes...); code != exitOK {
		return codeError(code)
	}
	return nil
}

// userSettings reads the user's settings without a tree's.
func userSettings(a *app) (settings.Settings, error) {
	for _, w := range settings.UnknownEnv(os.Environ()) {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(w))
	}
	s, err := settings.Load(settings.Options{UserFile: settings.UserFile(os.Getenv), Getenv: os.Getenv, FlagNames: flagNames()})
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}
