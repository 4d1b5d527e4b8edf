package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/preseed"
)

type diffOptions struct {
	json, html bool
	platform   string
	diffoscope []string
}

func newDiffCommand(a *app) *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:   "diff OUTPUT | A B",
		Short: "Print how two images differ, file by file, and guess why",
		Long: `Compares two images layer by layer and file by file: what only one has, type, mode,
owner, times, size and content, link targets, extended attributes, the order of the
tar's entries, compression, config, history and annotations. Where the pattern is known
it guesses a cause: a timestamp, a build path, a build id, the order of a hash table, the
number of jobs, CPU features, the locale, a host name. A cause is a guess; the difference
is not.

A and B are an output of the tree (what is in out/), a folder or archive with an OCI
layout (./x, ../x, /x), or an image of a registry (docker.io/stagex/core-curl@sha256:…,
or with a tag). OUTPUT alone is compared with the published image, which is pulled by
the digest in digests/ and not put into out/.

Images with the same digest are equal, and not read. Layers are streamed: files that
differ are written to $TMPDIR, else /var/tmp.

--diffoscope hands one file of both images to diffoscope, if you have it. It knows many
formats, and parses what nobody proved: sx never does that by itself.`,
		Example: `  sx diff core-curl                        # mine and the published one
  sx diff core-curl ../other/out/core-curl --json
  sx diff docker.io/stagex/core-curl:8.16.0 core-curl --html > curl.html
  sx diff core-curl --diffoscope usr/bin/curl`,
		Annotations: ownWords(codes(exitFailed, exitFetch, exitMachine, exitDisk), map[int]string{
			exitOK: "the images are equal", exitFailed: "they differ",
			exitUsage: "wrong usage, settings, definitions or digests/, or an image cannot be read",
		}),
		ValidArgsFunction: a.completeImages,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || len(args) > 2:
				return usagef("want an output, or two images; see sx diff --help")
			case o.json && o.html:
				return usagef("--json and --html exclude each other")
			case len(o.diffoscope) > 0 && (o.json || o.html):
				return usagef("--diffoscope prints text: it does not go with --json or --html")
			}
			return diffError(runDiff(c.Context(), a, args, o))
		},
	}
	addJSONFlag(c, &o.json, "every difference as it is found, and sums")
	f := c.Flags()
	f.BoolVar(&o.html, "html", false, "print one HTML page that loads nothing")
	f.StringVar(&o.platform, "platform", "", "compare the images for `PLATFORM` alone, such as linux/amd64")
	f.StringArrayVar(&o.diffoscope, "diffoscope", nil, "run diffoscope on `FILE`, a path in the images; may be repeated")
	return c
}

// diffError gives what is not known better the code 2, because 1 says that the images differ.
func diffError(err error) error {
	if code := exitCode(err); code != exitFailed || errors.As(err, new(codeError)) {
		return err
	}
	return usageError{err}
}

func runDiff(ctx context.Context, a *app, args []string, o diffOptions) error {
	debug.SetGCPercent(50) // it reads gigabytes, and little of it lives
	d := &differ{app: a}
	defer d.close()
	if err := d.prepare(ctx, args); err != nil {
		return err
	}
	x, y, err := d.open(ctx, args)
	if err != nil {
		return err
	}
	opts := imagediff.Options{Platform: o.platform, Paths: o.diffoscope}
	var scope diffoscope
	if len(o.diffoscope) > 0 {
		if scope, err = newDiffoscope(); err != nil {
			return err
		}
		opts.Extract = scope.keep
		defer scope.close()
	}
	sum, err := d.compare(ctx, x, y, opts, o)
	if err != nil {
		return err
	}
	if err := scope.run(ctx, a.stdout, o.diffoscope); err != nil {
		return err
	}
	if !sum.Equal {
		return codeError(exitFailed)
	}
	return nil
}

// compare prints what differs, and on a terminal meanwhile how far it is.
func (d *differ) compare(ctx context.Context, x, y imagediff.Image, opts imagediff.Options, o diffOptions) (imagediff.Summary, error) {
	meter := progress.NewMeter(d.app.stderr, progress.Options{}, d.readings.Text)
	defer meter.Close()
	lines := &wholeLines{w: meter.Above(d.app.stdout)}
	defer lines.flush()
	printer := newDiffPrinter(lines, o)
	opts.Reading = func(name string, size int64) imagediff.Reading { return d.readings.Begin(name, size) }
	if err := printer.Begin(x, y); err != nil {
		return imagediff.Summary{}, err
	}
	sum, err := imagediff.Compare(ctx, x, y, opts, printer.Difference)
	if err != nil {
		return sum, err
	}
	return sum, printer.End(sum)
}

// wholeLines keeps the beginning of a line until its end comes: on a terminal the line of
// a meter may be written in between.
type wholeLines struct {
	w    io.Writer
	rest []byte
}

func (l *wholeLines) Write(p []byte) (int, error) {
	n := bytes.LastIndexByte(p, '\n') + 1
	if n > 0 {
		if _, err := l.w.Write(append(l.rest, p[:n]...)); err != nil {
			return 0, err
		}
		l.rest = nil
	}
	l.rest = append(l.rest, p[n:]...)
	return len(p), nil
}

// flush writes what is left of a comparison that did not end.
func (l *wholeLines) flush() { l.w.Write(l.rest) }

func newDiffPrinter(w io.Writer, o diffOptions) imagediff.Printer {
	switch {
	case o.json:
		return imagediff.NewJSON(w)
	case o.html:
		return imagediff.NewHTML(w)
	}
	return imagediff.NewText(w)
}

// A differ opens images of every kind.
type differ struct {
	app      *app
	readings progress.Readings
	tree     *tree.View // nil if none is needed
	set      settings.Settings
	client   *preseed.Client
	opened   []func()
}

func (d *differ) close() {
	for _, f := range d.opened {
		f()
	}
}

// A kind is what an argument names.
type imageKind int

const (
	kindOutput imageKind = iota
	kindFile
	kindRemote
)

// kindOf tells an output from a path, which begins like one, and a reference, which has a host.
func kindOf(arg string) imageKind {
	if arg == "." || arg == ".." || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") {
		return kindFile
	}
	host, _, slash := strings.Cut(arg, "/")
	if slash && (strings.ContainsAny(host, ".:") || host == "localhost") || strings.Contains(arg, "@sha256:") {
		return kindRemote
	}
	return kindOutput
}

// prepare opens what the arguments need: the tree, a client.
func (d *differ) prepare(ctx context.Context, args []string) (err error) {
	needsTree := false
	for _, arg := range args {
		needsTree = needsTree || kindOf(arg) == kindOutput
	}
	if !needsTree {
		if len(args) == 1 {
			return usagef("%.200q is no output: name a second image to compare it with", args[0])
		}
		d.set, err = userSettings(d.app)
	} else if d.tree, d.set, err = d.app.open(ctx, nil, false); err == nil {
		d.opened = append(d.opened, func() { d.tree.Close() })
	}
	if err != nil {
		return err
	}
	d.client, err = preseed.NewClient(registryClient(d.set))
	if err == nil {
		d.opened = append(d.opened, d.client.Close)
	}
	return err
}

// open opens both images.
func (d *differ) open(ctx context.Context, args []string) (x, y imagediff.Image, err error) {
	if len(args) == 1 {
		return d.published(ctx, args[0])
	}
	if x, err = d.image(ctx, args[0]); err == nil {
		y, err = d.image(ctx, args[1])
	}
	return x, y, err
}

func (d *differ) image(ctx context.Context, arg string) (imagediff.Image, error) {
	switch kindOf(arg) {
	case kindFile:
		f, err := imagediff.Open(ctx, arg)
		if err != nil {
			return imagediff.Image{}, err
		}
		d.opened = append(d.opened, f.Close)
		return f.Image, nil
	case kindRemote:
		b, err := openRemote(ctx, &d.readings, d.client, arg)
		if err != nil {
			return imagediff.Image{}, err
		}
		d.opened = append(d.opened, b.close)
		return imagediff.Image{Name: arg, Root: b.root, Blobs: b}, nil
	}
	return d.output(arg)
}

// output opens what out/ has of one output.
func (d *differ) output(arg string) (imagediff.Image, error) {
	sel, err := d.app.selectRefs(d.tree.Graph, []string{arg})
	if err != nil {
		if _, serr := os.Stat(arg); serr == nil {
			err = usagef("%w; if the file or folder is meant, say ./%s", err, arg)
		}
		return imagediff.Image{}, err
	}
	if err := sel.err(); err != nil {
		return imagediff.Image{}, err
	}
	if len(sel.refs) != 1 {
		return imagediff.Image{}, usagef("%q selects %d outputs, want one: %s", arg, len(sel.refs), names(sel.refs))
	}
	img, err := d.tree.Store.Image(sel.refs[0].String())
	if errors.Is(err, os.ErrNotExist) {
		return imagediff.Image{}, usagef("%s is not in out/; build it with sx build %s", sel.refs[0], sel.refs[0])
	}
	if err != nil {
		return imagediff.Image{}, err
	}
	d.opened = append(d.opened, img.Close)
	return imagediff.Image{Name: "out/" + sel.refs[0].String(), Root: img.Root, Blobs: storeBlobs{img}}, nil
}

// published opens an output and the image that digests/ lists for it.
func (d *differ) published(ctx context.Context, arg string) (x, y imagediff.Image, err error) {
	if x, err = d.output(arg); err != nil {
		return x, y, err
	}
	img := x.Blobs.(storeBlobs).Image
	listed, ok := d.tree.Published[img.Output]
	if unread := d.tree.Unread(img.Output); unread != nil {
		return x, y, usagef("the published digest of %s is unknown: %v", img.Output, unread)
	}
	if !ok {
		return x, y, usagef("digests/ has no line for %s: nothing is published to compare it with", img.Output)
	}
	x.Root = img.Images[0].Manifest // which is what digests/ lists
	if x.Root.Digest == listed {
		return x, imagediff.Image{Name: "published " + img.Output, Root: oci.Descriptor{Digest: listed}}, nil
	}
	b, err := openFirst(ctx, &d.readings, d.client, repositoriesOf(d.set, img.Output), listed)
	if err != nil {
		return x, y, err
	}
	d.opened = append(d.opened, b.close)
	return x, imagediff.Image{Name: b.image, Root: b.root, Blobs: b}, nil
}
