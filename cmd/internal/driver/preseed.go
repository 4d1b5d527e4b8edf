package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// PreseedOptions are the options of [Preseed].
type PreseedOptions struct {
	Platforms []string        // the user's choice; empty: linux/amd64
	Preseed   preseed.Options // how to pull; Store is set
	Judge     *verdict.Judge  // decides whether definitions changed since digests/ did
	Now       func() time.Time
}

// PreseedReport is the result of [Preseed].
type PreseedReport struct {
	preseed.Report
	Unpublished []graph.Ref // digests/, which was read whole, has no line for them
	// Changed lists outputs whose published image is now in out/, but whose definitions
	// have changed since: the next build, also make's, builds them.
	Changed []graph.Ref
}

// Preseed makes out/ hold the published images of refs. It judges nothing: an image
// that was not built here is UNPROVEN. Errors are those of [preseed.Run].
func Preseed(ctx context.Context, t *tree.Tree, refs []graph.Ref, opts PreseedOptions) (*PreseedReport, error) {
	if err := t.Store.ReadOnly(); err != nil {
		return nil, err
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	report := &PreseedReport{}
	var images []preseed.Image
	for _, ref := range refs {
		img, ok, err := publishedImage(t, ref, opts.Platforms)
		if err != nil {
			return nil, err
		}
		if !ok {
			if t.Unread(ref.String()) == nil {
				report.Unpublished = append(report.Unpublished, ref)
			}
			continue
		}
		images = append(images, img)
	}
	opts.Preseed.Store, opts.Preseed.Log = t.Store, t.Log
	var err error
	report.Report, err = preseed.Run(ctx, images, opts.Preseed)
	if ctx.Err() != nil {
		return report, err
	}
	changed, terr := equalisePreseeded(t.Look(), opts)
	report.Changed = changed
	return report, tree.AsDiskFull(errors.Join(err, terr))
}

// PlatformsError reports that images of several platforms are wanted, but digests/
// lists one image of each output.
type PlatformsError struct{ Platforms []string }

func (e *PlatformsError) Error() string {
	return fmt.Sprintf("digests/ lists one image of each output, but %d platforms are wanted (%q): name one, or build", len(e.Platforms), e.Platforms)
}

// publishedImage returns the image that digests/ lists for an output; ok is false if it
// lists none.
func publishedImage(t *tree.Tree, ref graph.Ref, platforms []string) (img preseed.Image, ok bool, err error) {
	digest, ok := t.Published[ref.String()]
	if !ok {
		return preseed.Image{}, false, nil
	}
	o := t.Graph.Output(ref)
	want := o.Request(platforms).Platforms
	if len(want) != 1 {
		return preseed.Image{}, false, &PlatformsError{want}
	}
	return preseed.Image{Output: ref.String(), Digest: digest, Platform: want[0], Version: o.Tag()}, true, nil
}

// changedTime is the mtime of the index.json of a published image whose definitions have
// changed since: older than any definition, so that make builds it.
var changedTime = time.Unix(1, 0)

// equalisePreseeded sets the mtime of each index.json: outputs that are up to date get
// one same time, as after a build (see equaliseTimes), and published images that are
// not get changedTime. Without a history every published image counts as up to date, as
// with upstream's preseed.
func equalisePreseeded(v *tree.View, opts PreseedOptions) (changed []graph.Ref, err error) {
	_, noHistory := opts.Judge.OpenHistory()
	baseline := opts.Judge.Baseline()
	var current, old []string
	newest := opts.Now()
	for _, o := range v.Graph.Order(v.Graph.All()) {
		ref := o.Ref
		ok, preseeded := asPublished(v, o)
		reusable := true
		if ok && noHistory == nil {
			_, reusable = baseline.Reusable(ref)
		}
		switch {
		case ok && !reusable && preseeded:
			changed, old = append(changed, ref), append(old, ref.String())
			continue
		case ok && reusable, builtAndCurrent(v, o):
			current = append(current, ref.String())
		default:
			continue
		}
		if at := v.DefinitionTime(o.Definition); at.After(newest) {
			newest = at
		}
	}
	if haveOneTime(v.Tree, current) && haveTime(v.Tree, old, changedTime) {
		return changed, nil
	}
	return changed, errors.Join(v.Store.Touch(current, newest), v.Store.Touch(old, changedTime))
}

// asPublished reports whether out/ holds the image that digests/ lists for an output,
// with a record, and whether that image was preseeded.
func asPublished(v *tree.View, o *graph.Output) (ok, preseeded bool) {
	l, err := v.Layout(o)
	if err != nil {
		return false, false
	}
	rec, err := v.Record(o)
	if err != nil || rec.Top != l.Top || rec.Index != l.Index {
		return false, false
	}
	return v.Published[o.String()] == l.Digest(), rec.Origin == cache.Preseeded
}

// builtAndCurrent reports whether an output was built here and is up to date.
func builtAndCurrent(v *tree.View, o *graph.Output) bool {
	rec, err := v.Record(o)
	if err != nil || rec.Origin != cache.BuiltHere {
		return false
	}
	reason, err := plan.Stale(v, o, o.Platforms(tree.PlatformsIn(rec)), rec.Engine.Probe)
	return err == nil && reason == nil
}

// haveOneTime reports whether the outputs have one mtime, not older than any of
// their definitions.
func haveOneTime(t *tree.Tree, outputs []string) bool {
	if len(outputs) == 0 {
		return true
	}
	first, err := t.IndexTime(outputs[0])
	if err != nil || !haveTime(t, outputs, first) {
		return false
	}
	for _, name := range outputs {
		ref, err := graph.ParseRef(name)
		if err != nil || t.DefinitionTime(t.Graph.Output(ref).Definition).After(first) {
			return false
		}
	}
	return true
}

// haveTime reports whether the index.json of each output has the mtime want.
func haveTime(t *tree.Tree, outputs []string, want time.Time) bool {
	for _, name := range outputs {
		if at, err := t.IndexTime(name); err != nil || !at.Equal(want) {
			return false
		}
	}
	return true
}
