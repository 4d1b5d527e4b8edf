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
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/pins"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// newestRelease is what --update without a value means.
const newestRelease = "newest"

type pinsOptions struct {
	releases   string // the clone
	check      bool
	update     string
	dryRun     bool
	json       bool
	signed     bool
	signatures signatureOptions
}

func newPinsCommand(a *app) *cobra.Command {
	var o pinsOptions
	c := &cobra.Command{
		Use:   "pins FILE...",
		Short: "Say which releases the StageX images that files use are of",
		Long: `Looks through text files of any kind (Containerfiles, compose files, CI jobs) for
references to StageX images, on every registry and mirror, and prints of each: the output,
the releases that its digest is of, and whether there is a newer one. A file that mixes
releases, a digest of no release, and a reference with a tag only are said.

Releases are the tags of a StageX clone: --releases CLONE, else the tree that sx is in.
Nothing checks who made a tag: --signatures says who signed each digest.

--update writes the digests of a release into the files, the newest if none is named, and
changes nothing else: not a tag, which a digest overrules.`,
		Example: `  sx pins Containerfile --releases ../stagex
  sx pins --check Containerfile compose.yaml .github/workflows/*.yml
  sx pins --update 2026.03.0 Containerfile
  sx pins Containerfile --signatures --signatures-from ../signatures`,
		Annotations: ownWords(codes(exitFailed, exitUnsigned, exitFetch, exitDisk, exitUnproven), map[int]string{
			exitUnproven: "--check: mixed releases, unknown or no digest; --update: not all are updated",
		}),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.verify(args); err != nil {
				return err
			}
			return runPins(c.Context(), a, args, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.releases, "releases", "", "take releases from the tags of `CLONE`, a checkout or bare repository of StageX")
	f.BoolVar(&o.check, "check", false, "fail unless every reference has a digest, and all of a file are of one release")
	f.StringVar(&o.update, "update", "", "write the digests of `RELEASE` into the files")
	f.Lookup("update").NoOptDefVal = newestRelease
	c.RegisterFlagCompletionFunc("update", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		releases, err := releasesFor(a, o)
		if err != nil { // the command itself will report it
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return releases.Names(), cobra.ShellCompDirectiveNoFileComp
	})
	addDryRunFlag(c, &o.dryRun)
	addJSONFlag(c, &o.json, "every reference, where it is and what is known of it")
	f.BoolVar(&o.signed, "signatures", false, "say who signed each digest")
	o.signatures.addFlags(f)
	return c
}

func (o pinsOptions) verify(args []string) error {
	switch {
	case len(args) == 0:
		return usagef("want files to look through; see sx pins --help")
	case o.dryRun && o.update == "":
		return usagef("--dry-run goes with --update")
	case o.update != "" && (o.check || o.signed):
		return usagef("--update goes without --check and --signatures")
	case o.signatures.from != "" && !o.signed:
		return usagef("--signatures-from goes with --signatures")
	}
	return nil
}

// A pinFile is a file and the references in it.
type pinFile struct {
	name  string
	data  []byte
	info  fs.FileInfo
	found []pins.Finding
}

func (f pinFile) pins() (all []pins.Pin) {
	for _, one := range f.found {
		all = append(all, one.Pin)
	}
	return all
}

func runPins(ctx context.Context, a *app, args []string, o pinsOptions) error {
	releases, err := releasesFor(a, o)
	if err != nil {
		return err
	}
	var files []*pinFile
	for _, name := range args {
		f, err := readPins(name, releases)
		if err != nil {
			return err
		}
		files = append(files, f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if o.update != "" {
		return updatePins(a.stdout, files, releases, o)
	}
	seen, err := signersOfPins(ctx, a, files, o)
	if err != nil {
		return err
	}
	if o.json {
		err = printPinsJSON(a.stdout, files, seen)
	} else {
		printPins(a.stdout, files, seen)
	}
	if err != nil {
		return err
	}
	return errors.Join(checkPins(files, o), seen.err())
}

// releasesFor reads the tags of the clone.
func releasesFor(a *app, o pinsOptions) (*pins.Releases, error) {
	dir := o.releases
	if dir == "" {
		var err error
		if dir, err = a.treeDir(); err != nil {
			return nil, usagef("which releases are there? Say --releases CLONE, with a clone of StageX and its tags:\n" +
				"git clone --bare https://codeberg.org/stagex/stagex")
		}
	}
	tags, err := history.Tags(dir, pins.IsRelease)
	if err != nil {
		return nil, usagef("reading the releases of %s: %w", dir, err)
	}
	var list []pins.Release
	for _, t := range tags {
		list = append(list, pins.ParseRelease(t.Name, t.Files))
	}
	if len(list) == 0 {
		return nil, usagef("%s has no tag of a release with digests; git fetch --tags gets them", dir)
	}
	return pins.NewReleases(list), nil
}

// maxPinFile bounds a file to look through, in bytes.
const maxPinFile = 4 << 20

func readPins(name string, releases *pins.Releases) (*pinFile, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, usageError{err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, usagef("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPinFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	if len(data) > maxPinFile || bytes.IndexByte(data, 0) >= 0 {
		return nil, usagef("%s is no text file of at most %d MiB", name, maxPinFile>>20)
	}
	p := &pinFile{name: name, data: data, info: info}
	for _, pin := range pins.Find(data, releases.Outputs) {
		p.found = append(p.found, releases.Judge(pin))
	}
	return p, nil
}

func printPins(w io.Writer, files []*pinFile, seen pinSigners) {
	total, states := 0, map[pins.State]int{}
	for _, f := range files {
		for _, one := range f.found {
			total++
			states[one.State]++
			fmt.Fprintf(w, "%s:%d:%d: %s %s\n", text.Field(f.name), one.Line, one.Column, text.Field(one.Output), text.Field(pinWords(one)))
			seen.print(w, one)
		}
		switch {
		case len(f.found) == 0:
			fmt.Fprintf(w, "%s: no reference to an image of StageX\n", text.Field(f.name))
		case pins.Mixed(f.found):
			fmt.Fprintf(w, "%s: mixed: no one release has all its digests\n", text.Field(f.name))
		}
	}
	fmt.Fprintf(w, "%s: %d of a release, %d unknown, %d with a tag only\n", count(total, "reference"),
		states[pins.Known], states[pins.Unknown], states[pins.TagOnly])
}

// pinWords is what is known of a pin.
func pinWords(f pins.Finding) string {
	switch f.State {
	case pins.Known:
		s := releaseRange(f.Releases)
		switch {
		case f.Current():
			s += ", the newest"
		case f.Gone != "":
			s += "; " + f.Gone
		default:
			s += "; newest is " + f.Newest
		}
		if f.Why != "" {
			s += " (" + f.Why + ")"
		}
		return s
	case pins.TagOnly:
		s := "has no digest"
		if f.Tag != "" {
			s = fmt.Sprintf("has a tag only, %s", f.Tag)
		}
		if f.Why != "" {
			s += ": " + f.Why
		}
		return s
	}
	return "unknown: " + f.Why
}

func releaseRange(names []string) string {
	if len(names) <= 3 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, %s … %s", names[0], names[1], names[len(names)-1])
}

// checkPins is the error of --check, after all was printed.
func checkPins(files []*pinFile, o pinsOptions) error {
	if !o.check {
		return nil
	}
	total := 0
	for _, f := range files {
		total += len(f.found)
		if pins.Mixed(f.found) {
			return codeError(exitUnproven)
		}
		for _, one := range f.found {
			if one.State != pins.Known {
				return codeError(exitUnproven)
			}
		}
	}
	if total == 0 { // what checked nothing is no success
		return codeError(exitUnproven)
	}
	return nil
}

// updatePins rewrites digests.
func updatePins(w io.Writer, files []*pinFile, releases *pins.Releases, o pinsOptions) error {
	to, ok := releases.Newest()
	if o.update != newestRelease {
		to, ok = releases.Named(o.update)
	}
	if !ok {
		return usagef("there is no release %q in the clone", o.update)
	}
	left, all := 0, []pinChangeJSON{}
	for _, f := range files {
		data, changes := pins.Update(f.data, f.pins(), to)
		if !bytes.Equal(data, f.data) && !o.dryRun {
			if err := f.write(data); err != nil {
				return err
			}
		}
		for _, c := range changes {
			if c.To == "" {
				left++
			}
			all = append(all, pinChangeJSON{f.name, c.Line, c.Column, c.Output, c.Digest, c.To, c.Why})
			if !o.json {
				printChange(w, f.name, c)
			}
		}
	}
	if o.json {
		if err := printJSON(w, map[string]any{"release": to.Name, "changes": all}); err != nil {
			return err
		}
	} else {
		verb := "updated"
		if o.dryRun {
			verb = "to update"
		}
		fmt.Fprintf(w, "%s %s to %s, %d not\n", count(len(all)-left, "digest"), verb, to.Name, left)
	}
	if left > 0 {
		return codeError(exitUnproven)
	}
	return nil
}

func printChange(w io.Writer, name string, c pins.Change) {
	at := fmt.Sprintf("%s:%d:%d: %s", text.Field(name), c.Line, c.Column, text.Field(c.Output))
	if c.To == "" {
		fmt.Fprintf(w, "%s stays: %s\n", at, text.Field(c.Why))
		return
	}
	fmt.Fprintf(w, "%s %s → %s\n", at, text.Abbreviate("sha256:"+c.Digest), text.Abbreviate("sha256:"+c.To))
}

// write replaces the file, and not a link to it, unless it changed since it was read. Mode
// and, for root, owner stay; a file that was named twice is written once.
func (f *pinFile) write(data []byte) error {
	path, err := filepath.EvalSymlinks(f.name)
	if err != nil {
		return err
	}
	now, err := disk.ReadFile(path, maxPinFile)
	if err == nil && bytes.Equal(now, data) {
		return nil
	}
	if err == nil && !bytes.Equal(now, f.data) {
		err = fmt.Errorf("writing %q: it changed meanwhile; run the command again", f.name)
	}
	if err != nil {
		return err
	}
	if err := disk.WriteFile(path, data, f.info.Mode().Perm(), ""); err != nil {
		return err
	}
	if st, ok := f.info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		return os.Chown(path, int(st.Uid), int(st.Gid)) // others cannot give files away
	}
	return nil
}
