package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/lookaside"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/preseed"
)

// signatureOptions are the flags of what looks at signatures.
type signatureOptions struct{ from string }

func (o *signatureOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.from, "signatures-from", "", "where signatures are: a `FOLDER`, a checkout, or an https URL (setting signatures.from)")
}

// place is where signatures are: what the flag says, the setting, or the tree at dir ("" for no tree). A tree's own folder
// is as good as any other, because only the user's keys count.
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

// A notary counts the people who signed images.
type notary struct {
	source  *lookaside.Source
	ring    *signature.Keyring
	quorum  int
	version func(ctx context.Context, img signature.Image) (string, error) // of the image's manifest
}

// newNotary opens the place of signatures and the user's keys. Close ends it.
func newNotary(set settings.Settings, from string, version func(context.Context, signature.Image) (string, error)) (*notary, error) {
	ring, _, err := loadKeyring()
	if err != nil {
		return nil, err
	}
	source, err := lookaside.Open(from, userAgent(set))
	if err != nil {
		return nil, usageError{err}
	}
	return &notary{source: source, ring: ring, quorum: set.Signatures.Quorum, version: version}, nil
}

// signed is what became of one image. Err says that there may be signatures that were not read, or could not be judged.
type signed struct {
	signature.Tally
	err    error
	quorum int
	noKeys bool // the user trusts none
}

func (s signed) enough() bool { return len(s.People) >= s.quorum }

// of reads and judges the signatures of an image. Its version is asked for only if a payload names one.
func (n *notary) of(ctx context.Context, output string, digest oci.Digest) signed {
	img := signature.Image{Repository: signedNamespace + output, Digest: digest.Hex(), NoVersion: errors.New("it was not asked for")}
	files, err := n.source.Files(ctx, img.Repository, img.Digest)
	now := time.Now()
	tally := n.ring.Judge(img, files, now)
	for _, f := range tally.Findings {
		if f.Person != "" && f.Says.Tag != "" {
			img.Version, img.NoVersion = n.version(ctx, img)
			tally, err = n.ring.Judge(img, files, now), errors.Join(err, img.NoVersion)
			break
		}
	}
	return signed{Tally: tally, err: err, quorum: n.quorum, noKeys: len(n.ring.Keys) == 0}
}

// signedNamespace begins every repository in a payload, whatever registry an image comes from.
const signedNamespace = "stagex/"

// code is the exit code that signatures alone would give.
func (s signed) code() int {
	switch {
	case s.enough():
		return exitOK
	case s.err != nil && !errors.Is(s.err, errNoDigest):
		return exitFetch
	}
	return exitUnsigned
}

// print writes who signed, and why each other file does not count.
func (s signed) print(w io.Writer) {
	for _, f := range s.Findings {
		if f.Why == nil {
			fmt.Fprintf(w, "    signed by %s (%s, %s, key %s)\n", text.Field(f.Person), f.File, f.Time.Format(time.DateOnly), f.Fingerprint)
			continue
		}
		fmt.Fprintf(w, "    %s does not count%s: %s\n", f.File, maker(f), text.Field(f.Why.Error()))
	}
	if s.err != nil {
		fmt.Fprintf(w, "    not all of it could be looked at: %s\n", text.Field(s.err.Error()))
	}
	hint := ""
	if s.noKeys {
		hint = "; you trust no key yet: sx keys import FILE"
	}
	fmt.Fprintf(w, "    signed by %d of %d different people needed%s\n", len(s.People), s.quorum, hint)
}

// signedJSON is what --json prints of the signatures of a digest. It only gains fields.
type signedJSON struct {
	People []string        `json:"people"`
	Quorum int             `json:"quorum"`
	Enough bool            `json:"enough"`
	Error  string          `json:"error,omitempty"` // why not all of it could be looked at
	Files  []signatureJSON `json:"files"`
}

type signatureJSON struct {
	File   string `json:"file"`
	Issuer string `json:"issuer,omitempty"` // the key that it names
	Person string `json:"person,omitempty"`
	Time   string `json:"time,omitempty"`   // its signer's claim
	Image  string `json:"image,omitempty"`  // that it names
	Digest string `json:"digest,omitempty"` // that it names, 64 hexadecimal digits
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"` // it does not count
}

func (s signed) json() *signedJSON {
	out := &signedJSON{People: append([]string{}, s.People...), Quorum: s.quorum, Enough: s.enough(), Files: []signatureJSON{}}
	if s.err != nil {
		out.Error = s.err.Error()
	}
	for _, f := range s.Findings {
		one := signatureJSON{File: f.File, Issuer: f.Issuer, Person: f.Person, Image: f.Says.Reference, Digest: f.Says.Digest, Counts: f.Why == nil}
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

// maker names the key that a file claims to be of, and what a key that is not known signs.
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

// A witness looks at the signatures of outputs in the background, while their blobs are hashed.
type witness struct {
	notary    *notary
	published cache.Published
	group     errgroup.Group
	seen      []*signed // in the order of see
}

// errNoDigest is said of an output whose signatures cannot be looked for.
var errNoDigest = errors.New("there is no digest to look for: it is neither in out/ nor in digests/")

// lookups is how many images' signatures are looked at at once.
const lookups = 8

func newWitness(n *notary, published cache.Published) *witness {
	w := &witness{notary: n, published: published}
	w.group.SetLimit(lookups)
	return w
}

// see begins to look at the signatures of the digest that is in out/, or of the published one if out/ has none.
func (w *witness) see(ctx context.Context, v verdict.Verdict) {
	digest := v.Got
	if digest.IsZero() {
		digest = w.published[v.Ref.String()]
	}
	s := &signed{quorum: w.notary.quorum, err: errNoDigest}
	w.seen = append(w.seen, s)
	if !digest.IsZero() {
		w.group.Go(func() error {
			*s = w.notary.of(ctx, v.Ref.String(), digest)
			return nil
		})
	}
}

// print waits for the end and writes each verdict with the signatures of its digest. The error is a code: too few people
// signed one of them. No witness prints nothing: the verdicts were printed.
func (w *witness) print(out io.Writer, vs []verdict.Verdict) error {
	if w == nil {
		return nil
	}
	w.group.Wait()
	codes, enough := []int{exitOK}, 0
	for i, v := range vs {
		printVerdict(out, v)
		w.seen[i].print(out)
		codes = append(codes, w.seen[i].code())
		if w.seen[i].enough() {
			enough++
		}
	}
	fmt.Fprintf(out, "%s: %d signed by %d people or more\n", count(len(vs), "output"), enough, w.notary.quorum)
	if code := worst(codes...); code != exitOK {
		return codeError(code)
	}
	return nil
}

// withWitness calls do with a witness for outputs of a tree.
func withWitness(t *tree.Tree, set settings.Settings, o signatureOptions, do func(*witness) error) error {
	from, err := o.place(set, t.Dir)
	if err != nil {
		return err
	}
	client, err := preseed.NewClient(registryClient(set))
	if err != nil {
		return err
	}
	defer client.Close()
	n, err := newNotary(set, from, localVersion(t, set, client))
	if err != nil {
		return err
	}
	defer n.source.Close()
	return do(newWitness(n, t.Published))
}

// localVersion reads the version of the image in out/; if it has not that image, a registry is asked.
func localVersion(t *tree.Tree, set settings.Settings, client *preseed.Client) func(context.Context, signature.Image) (string, error) {
	return func(ctx context.Context, img signature.Image) (string, error) {
		digest, err := oci.ParseDigest("sha256:" + img.Digest)
		if err != nil {
			return "", err
		}
		output := strings.TrimPrefix(img.Repository, signedNamespace)
		if image, err := t.Store.Image(output); err == nil {
			defer image.Close()
			for _, i := range image.Images {
				if i.Manifest.Digest == digest {
					return i.Version, nil
				}
			}
		}
		return publishedVersion(ctx, client, repositoriesOf(set, output), digest)
	}
}

// publishedVersion asks a registry for a manifest, by its digest, and returns the version in it.
func publishedVersion(ctx context.Context, client *preseed.Client, repositories []string, d oci.Digest) (string, error) {
	var errs []error
	for _, name := range repositories {
		repo, err := client.Repository(ctx, name)
		if err == nil {
			var data []byte
			var mediaType string
			if data, mediaType, err = repo.Retrying(2, nil).Manifest(ctx, d); err == nil {
				image, err := oci.ParseManifest(data, mediaType)
				return image.Version, err
			}
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	return "", fmt.Errorf("its manifest cannot be had: %w", errors.Join(errs...))
}

// repositoriesOf are the places where settings say that an output is published.
func repositoriesOf(set settings.Settings, output string) (all []string) {
	for _, r := range preseedSettings(set).Registries {
		all = append(all, r.Repository(output))
	}
	return all
}

// userSettings are the settings of the user alone: of what no tree has a say in.
func (a *app) userSettings() (settings.Settings, error) {
	for _, w := range settings.UnknownEnv(os.Environ()) {
		fmt.Fprintln(a.stderr, "sx: warning: "+text.Field(w))
	}
	s, err := settings.Load(settings.Options{UserFile: settings.UserFile(os.Getenv), Getenv: os.Getenv, FlagNames: flagNames()})
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}
