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
	Preseed   preseed.Options // the store is filled in
	Judge     *verdict.Judge  // tells whether definitions changed since digests/ did
	Now       func() time.Time
}

// PreseedReport is what [Preseed] did.
type PreseedReport struct {
	preseed.Report
	Unpublished []graph.Ref // digests/ has no line for them
	// Changed are outputs whose published image is now in out/, though the tree says
	// something else: a build, also make's, builds them anew.
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
			report.Unpublished = append(report.Unpublished, ref)
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

// PlatformsError says that images of several platforms are wanted, where digests/
// lists one of each output.
type PlatformsError struct{ Platforms []string }

func (e *PlatformsError) Error() string {
	return fmt.Sprintf("digests/ lists one image of each output, but %d platforms are wanted (%q): name one, or build", len(e.Platforms), e.Platforms)
}

// publishedImage is the image that digests/ lists for an output; not ok where it
// lists none.
func publishedImage(t *tree.Tree, ref graph.Ref, platforms []string) (preseed.Image, bool, error) {
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

// changedTime is the mtime of the index.json of a published image that is not what
// the tree says now: older than any definition, so that make builds it.
var changedTime = time.Unix(1, 0)

// equalisePreseeded gives the index.json of all that is as the tree says one same
// mtime, as equaliseTimes does after a build, and that of published images that are
// not an old one. Without history every published image passes, as it does with
// upstream's preseed.
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

// asPublished reports whether out/ holds what digests/ lists for an output, as its
// record says, and whether that was preseeded.
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

// builtAndCurrent reports whether an output was built here from what the tree says
// now, its dependencies as they are in out/.
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

func haveTime(t *tree.Tree, outputs []string, want time.Time) bool {
	for _, name := range outputs {
		if at, err := t.IndexTime(name); err != nil || !at.Equal(want) {
			return false
		}
	}
	return true
}
