package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/gpg"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/release"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/signers"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

type signOptions struct {
	key, into string
	accept    []string
	dryRun    bool
}

func newSignCommand(a *app) *cobra.Command {
	var sc scope
	var o signOptions
	c := &cobra.Command{
		Use:   "sign [SELECTOR...]",
		Short: "Sign the digests that are MATCH",
		Long: `Signs the digest of each selected output, or of each output of the tree, that is MATCH:
built here from source, with the published digest. A MATCH with conditions needs
--accept: "given" for "MATCH given <n> unproven inputs", "on" for "MATCH (on <engine>)".
Nothing else is ever signed.

It prints the plan first, skips digests that this key has signed already, and writes
signature files like upstream's sign.sh, into signatures/ of the tree or the folder of
--into. To resume after an interruption, run the same command again.

gpg makes the signatures with your configuration, which may ask for a smart card, a PIN
or a touch for each. STAGEX_GPG names another program, STAGEX_GPG_SIGN one that is only
used for signing.`,
		Example: `  sx sign --dry-run
  sx sign pallet-rust --into ../signatures`,
		Annotations:       codes(exitFailed, exitMismatch, exitMachine, exitUnproven),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(sc.check(c, args), o.check()); err != nil {
				return err
			}
			return runSign(c.Context(), a, args, o)
		},
	}
	sc.addFlag(c)
	addDryRunFlag(c, &o.dryRun)
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "sign with gpg's secret `KEY`, a fingerprint or user ID (default: the only one)")
	f.StringVar(&o.into, "into", "", "the signatures `FOLDER`, with stagex/ in it (default: the tree's signatures/)")
	f.StringSliceVar(&o.accept, "accept", nil, "also sign a MATCH with these `CONDITIONS`: given, on")
	return c
}

func (o signOptions) check() error {
	if _, err := release.ParseAccept(o.accept); err != nil {
		return usagef("--accept: %w", err)
	}
	return nil
}

// signable returns why a verdict's digest is not signed, "" if it is.
func (o signOptions) signable(v verdict.Verdict) string {
	switch {
	case v.Word != verdict.Match && v.Note != "":
		return v.String() + " (" + v.Note + ")"
	case v.Word != verdict.Match:
		return v.String()
	case len(v.Engines) > 0 && !slices.Contains(o.accept, release.AcceptOn):
		return v.String() + ": --accept on would sign it"
	case v.Given > 0 && !slices.Contains(o.accept, release.AcceptGiven):
		return v.String() + ": --accept given would sign it"
	}
	return ""
}

func runSign(ctx context.Context, a *app, selectors []string, o signOptions) error {
	return a.inTree(ctx, nil, selectors, func(in *session, refs []graph.Ref) error {
		j, done := panel.Own(in.view)
		defer done()
		vs, err := verdict.Verify(ctx, j, refs, nil)
		if err != nil {
			return err
		}
		s, err := newSigner(ctx, a, in.tree, o)
		if err != nil {
			return err
		}
		defer s.folder.Close()
		refused, err := s.plan(a.stderr, in.tree, vs, o)
		if err == nil && !o.dryRun {
			err = s.run(ctx, a.stderr)
		}
		if err == nil {
			err = signCode(vs, refused)
		}
		return err
	})
}

// signCode returns the exit code for outputs that were not signed, as an error.
func signCode(vs []verdict.Verdict, refused int) error {
	switch {
	case slices.ContainsFunc(vs, func(v verdict.Verdict) bool { return v.Word == verdict.Mismatch }):
		return codeError(exitMismatch)
	case refused > 0 || len(vs) == 0:
		return codeError(exitUnproven)
	}
	return nil
}

// A signer signs images with one key into one folder.
type signer struct {
	programs    gpg.Programs
	fingerprint string
	ask         string // the key that gpg is told to use, "" for its default
	ring        *signature.Keyring
	folder      *os.Root
	todo        []signature.Image
	had         int // images that this key has signed already
}

func newSigner(ctx context.Context, a *app, t *tree.Tree, o signOptions) (*signer, error) {
	s := &signer{programs: gpg.NewPrograms(os.Getenv, a.stderr)}
	fingerprint, public, err := s.programs.Key(ctx, o.key)
	if err != nil {
		return nil, err
	}
	keys, _, err := signature.ParseKeys(public)
	if err != nil || len(keys) != 1 || keys[0].Fingerprint != fingerprint {
		return nil, fmt.Errorf("gpg did not export the key %s: %w", fingerprint, cmpErr(err))
	}
	s.fingerprint, s.ring = fingerprint, &signature.Keyring{}
	if o.key != "" {
		s.ask = fingerprint
	}
	if _, err := s.ring.Add("", keys[0]); err != nil {
		return nil, err
	}
	s.folder, err = openInto(t, o.into)
	return s, err
}

// openInto opens the folder that signatures are written into. It does not follow a link
// at the tree's signatures/.
func openInto(t *tree.Tree, into string) (*os.Root, error) {
	wayOut := "create it"
	if into == "" {
		wayOut = "clone the signatures repository there, or name another with --into"
		into = filepath.Join(t.Dir, "signatures")
		if info, err := os.Lstat(into); err == nil && !info.IsDir() {
			return nil, usagef("%s is not a folder: name one with --into", into)
		}
	}
	folder, err := os.OpenRoot(into)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no folder %s: %s", into, wayOut)
	}
	return folder, err
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("the fingerprint differs")
	}
	return err
}

// plan puts the images to sign into s.todo and prints them. It counts those that this
// key has signed already, and prints and counts those that are refused.
func (s *signer) plan(w io.Writer, t *tree.Tree, vs []verdict.Verdict, o signOptions) (refused int, err error) {
	for _, v := range vs {
		if why := o.signable(v); why != "" {
			fmt.Fprintf(w, "sx: not signed: %s %s\n", v.Ref, text.Field(why))
			refused++
			continue
		}
		img, err := imageOf(t, v)
		if err != nil {
			return refused, err
		}
		files, err := signature.ReadFiles(s.folder.FS(), img.Repository, img.Digest)
		if err != nil {
			return refused, err
		}
		if len(s.ring.Judge(img, files, time.Now()).People) > 0 {
			s.had++
			continue
		}
		s.todo = append(s.todo, img)
	}
	fmt.Fprintf(w, "sx: %s to sign with the key %s into %s, %d signed by it already, %d not signed\n",
		count(len(s.todo), "digest"), s.fingerprint, text.Field(s.folder.Name()), s.had, refused)
	for _, img := range s.todo {
		fmt.Fprintf(w, "    %s:%s sha256:%s\n", img.Repository, text.Field(img.Version), img.Digest)
	}
	return refused, nil
}

// imageOf returns what a signature of the output will name. The version is the one in
// the manifest, which is also the tag that the image is pulled by.
func imageOf(t *tree.Tree, v verdict.Verdict) (signature.Image, error) {
	image, err := t.Image(v.Ref)
	if err != nil {
		return signature.Image{}, err
	}
	defer image.Close()
	for _, i := range image.Images {
		if i.Manifest.Digest == v.Got && i.Version != "" {
			return signature.Image{Repository: signers.Namespace + v.Ref.String(), Digest: v.Got.Hex(), Version: i.Version}, nil
		}
	}
	return signature.Image{}, fmt.Errorf("%s: the image %s has no version, which a signature must name", v.Ref, v.Got)
}

// run signs the images of s.todo one after the other: each may need a touch of a key.
func (s *signer) run(ctx context.Context, w io.Writer) error {
	for i, img := range s.todo {
		fmt.Fprintf(w, "sx: signing %d of %d: %s\n", i+1, len(s.todo), img.Repository)
		file, err := s.sign(ctx, img)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w; run the same command again to resume", img.Repository, err)
		}
		fmt.Fprintf(w, "    %s\n", text.Field(file))
	}
	return nil
}

// sign makes one signature, checks it like sx verify, and writes it beside the existing
// ones. It returns the file's name.
func (s *signer) sign(ctx context.Context, img signature.Image) (string, error) {
	payload := signature.NewPayload(strings.TrimPrefix(img.Repository, signers.Namespace), img.Version, img.Digest)
	data, err := s.programs.Sign(ctx, s.ask, payload)
	if err != nil {
		return "", err
	}
	m, err := signature.ReadMessage(data)
	if err == nil && !bytes.Equal(m.Payload, payload) {
		err = errors.New("it signs another text than gpg was given")
	}
	if err == nil {
		err = s.ring.Judge(img, []signature.File{{Name: "gpg's signature", Data: data}}, time.Now()).Findings[0].Why
	}
	if err != nil {
		return "", fmt.Errorf("gpg made a signature that would not count: %w", err)
	}
	return signature.WriteFile(s.folder, img, data)
}
