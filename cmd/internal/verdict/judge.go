package verdict

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// History says what changed since the tree's last commit that changed anything in
// digests/.
type History interface {
	// Changed reports whether the definition folder dir, whose files are given,
	// differs from that commit.
	Changed(dir string, files []graph.File) (bool, error)
}

// Judge gives verdicts.
type Judge struct {
	View *tree.View // the tree to judge
	// Open opens the history, when it is first needed: for a digest that is not the
	// published one. After an error, or without Open, nothing is CHANGED.
	Open func() (History, error)
	// Against, if set, replaces the tree's digests/. The history is then about the commit
	// that published these digests; Open is nil if no commit did.
	Against *Against

	mu        sync.Mutex // guards all below
	history   History
	noHistory error
	opened    bool
	changed   map[string]change // by the folder of a definition
	inputs    inputs
	names     []Engine // of all engines of inputs, by number
}

// Against is a source of published digests other than the tree's digests/.
type Against struct {
	Source    string // what a verdict calls it
	Published cache.Published
}

// published returns the published digest of an output.
func (j *Judge) published(output string) (oci.Digest, bool) {
	all := j.View.Published
	if j.Against != nil {
		all = j.Against.Published
	}
	d, ok := all[output]
	return d, ok
}

// OpenHistory opens the history, once.
func (j *Judge) OpenHistory() (History, error) {
	if !j.opened {
		j.opened, j.noHistory = true, errors.New("no history is given")
		if j.Open != nil {
			j.history, j.noHistory = j.Open()
		}
	}
	return j.history, j.noHistory
}

// Judge judges what is in out/ for ref. It does not read blobs again that are
// unchanged since they were hashed; [Verify] does.
func (j *Judge) Judge(ref graph.Ref) Verdict {
	return j.verdictOn(j.View.Graph.Output(ref))
}

// verdictOn reads and judges o.
func (j *Judge) verdictOn(o *graph.Output) Verdict {
	layout, err := j.View.Check(o)
	return j.judge(o, layout, err)
}

// judge judges o by its layout, which was read in full, or by the error of reading
// it. An output that cannot be judged is UNPROVEN, and keeps no other from its
// verdict.
func (j *Judge) judge(o *graph.Output, layout cache.Layout, err error) Verdict {
	v := j.judgeListed(o, layout, err)
	if j.Against != nil {
		return v
	}
	unread := j.View.Unread(o.String())
	if unread == nil {
		return v
	}
	if v.Unread = true; v.Word == Unpublished {
		v.Word, v.Note = Unproven, "built here"
	}
	v.Note = strings.TrimPrefix(v.Note+"; its published digest is unknown: "+unread.Error(), "; ")
	return v
}

// judgeListed is judge by the digests that could be read.
func (j *Judge) judgeListed(o *graph.Output, layout cache.Layout, err error) Verdict {
	v := Verdict{Ref: o.Ref}
	if j.Against != nil {
		v.Against = j.Against.Source
	}
	v.Want, _ = j.published(o.String()) // also of what out/ does not hold
	if errors.Is(err, fs.ErrNotExist) {
		v.Word = Missing
		return v
	}
	if err != nil {
		v.Word, v.Damaged, v.Note = Unproven, true, "damaged: "+err.Error()
		return v
	}
	got, published := publishedManifest(o, layout.Manifests)
	v.Got = layout.Digest()
	if published {
		v.Got = got
		v.Want, published = j.published(o.String())
	}
	if in, ok := j.View.Hub(o); ok {
		v.Word, v.Note = Unproven, "in the hub "+in.From+", its bytes not seen here"
		return v
	}
	rec, proven := j.View.Proof(o, v.Got)
	if !proven {
		v.Word, v.Note = Unproven, j.origin(o)
		return v
	}
	if err := rec.Exact(layout); err != nil {
		v.Word, v.Note = Unproven, "not what was built here: "+err.Error()
		return v
	}
	current, err := j.View.Current(o, tree.PlatformsIn(rec), rec)
	switch {
	case err != nil:
		v.Word, v.Note = Unproven, "built here, but the tree's current definitions cannot be read: "+err.Error()
		return v
	case !current:
		v.Word, v.Note = Unproven, "built here, but from other definitions or sources than the tree's now; run sx build "+o.String()
		return v
	case rec.Engine.Probe != buildkit.ProbeDigest:
		v.Word, v.Note = Unproven, "its engine does not produce StageX's bytes (probe "+rec.Engine.Probe+")"
		return v
	}
	matches := published && v.Got == v.Want
	b := j.basisOf(o, layout.Manifests, matches)
	v.Builders = b.builders
	switch {
	case matches:
		j.match(&v, rec, b)
		return v
	case b.deviation != "": // its digest says nothing about the tree's definitions
		v.Word, v.Note = Unproven, "built here, but of inputs that are not the tree's now: "+b.deviation+"; run sx build "+o.String()
		return v
	case !published:
		v.Word, v.Want = Unpublished, oci.Digest{}
		return v
	}
	v = j.differs(v, rec)
	j.taint(&v, rec)
	j.excuseUnknownKey(&v, o)
	return v
}

// match makes v a MATCH, with its conditions.
func (j *Judge) match(v *Verdict, rec cache.Record, b basis) {
	v.Word, v.Given, v.Engines, v.Each = Match, b.given, b.on, b.each
	if usedForeignCache(rec) {
		v.Cached = true
		v.Given++
	}
}

// differs decides between MISMATCH and CHANGED. If part of the history cannot be
// read, it is unknown only whether the definitions in that part changed.
func (j *Judge) differs(v Verdict, rec cache.Record) Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	v.Word = Mismatch
	if name := rec.Engine.Snapshotter; name != "" && name != buildkit.Overlayfs {
		v.Note = buildkit.OtherSnapshotter(name)
	}
	history, unknown := j.OpenHistory()
	if unknown == nil {
		for _, ref := range j.View.Graph.Closure([]graph.Ref{v.Ref}) {
			c := j.changedSince(history, j.View.Graph.Output(ref).Definition)
			if c.dir != "" {
				v.Word, v.Note = Changed, c.dir+" changed since digests/ did"
				return v
			}
			unknown = cmp.Or(unknown, c.unknown)
		}
	}
	if unknown != nil {
		said := fmt.Sprintf("whether definitions changed is unknown: %v", unknown)
		v.Note = strings.TrimPrefix(v.Note+"; "+said, "; ")
	}
	return v
}

// change says what the history knows of a definition.
type change struct {
	dir     string // the folder that changed, "" if none did
	unknown error  // why that is not known
}

// changedSince compares the folder of a definition, and of the one whose version it
// takes, which is part of what it builds.
func (j *Judge) changedSince(history History, d *graph.Definition) change {
	if c, ok := j.changed[d.Dir]; ok {
		return c
	}
	var c change
	snap, unknown := j.View.Snapshot(d)
	changed := false
	if unknown == nil {
		changed, unknown = history.Changed(d.Dir, snap.Files)
	}
	if unknown == nil && changed {
		c.dir = d.Dir
	} else if d.VersionFrom != (graph.Ref{}) {
		c = j.changedSince(history, j.View.Graph.Output(d.VersionFrom).Definition)
	}
	if c.dir == "" {
		c.unknown = cmp.Or(unknown, c.unknown)
	}
	if j.changed == nil {
		j.changed = map[string]change{}
	}
	j.changed[d.Dir] = c
	return c
}

// publishedManifest returns the manifest for the platform that digests/ lists: the
// first that the definition forces, or linux/amd64.
func publishedManifest(o *graph.Output, ms []oci.Manifest) (oci.Digest, bool) {
	want := graph.DefaultPlatform
	if o != nil && len(o.Definition.Platforms) > 0 {
		want = o.Definition.Platforms[0]
	}
	i := slices.IndexFunc(ms, func(m oci.Manifest) bool { return m.Platform == want })
	if i < 0 {
		return oci.Digest{}, false
	}
	return ms[i].Digest, true
}

// origin says where an output that was not built here comes from.
func (j *Judge) origin(o *graph.Output) string {
	rec, err := j.View.Record(o)
	var version *cache.VersionError
	switch {
	case errors.As(err, &version):
		return "its record is of another version of sx"
	case errors.Is(err, fs.ErrNotExist):
		return "no record of how it came to be"
	case err != nil:
		return "its record cannot be believed: " + err.Error()
	case rec.Origin == cache.Preseeded:
		return "preseeded from " + rec.From
	}
	return "not what was built here"
}

// Verify hashes every blob of refs and judges them. The verdict reports damage,
// which the store also remembers; the error is ctx's cause.
func Verify(ctx context.Context, j *Judge, refs []graph.Ref, each func(Verdict)) ([]Verdict, error) {
	var vs []Verdict
	err := VerifyBy(ctx, []*Judge{j}, refs, func(v []Verdict) {
		vs = append(vs, v[0])
		if each != nil {
			each(v[0])
		}
	})
	return vs, err
}

// VerifyBy is Verify for several judges of one View. It calls each with the verdicts
// on one output, in the order of judges, and does so in the order of refs. The blobs
// are hashed once, those of several outputs at the same time.
func VerifyBy(ctx context.Context, judges []*Judge, refs []graph.Ref, each func([]Verdict)) error {
	view := judges[0].View
	outputs := make([]*graph.Output, len(refs))
	for i, ref := range refs {
		outputs[i] = view.Graph.Output(ref)
	}
	for _, j := range judges {
		j.prepare(outputs)
	}
	type found struct {
		layout cache.Layout
		err    error
	}
	var stopped error
	disk.InOrder(len(outputs), func(i int) (f found) {
		if ctx.Err() == nil {
			f.layout, f.err = view.Store.Verify(ctx, outputs[i].String())
		}
		return f
	}, func(i int, f found) bool {
		if ctx.Err() != nil { // f may not be what out/ holds
			stopped = context.Cause(ctx)
			return false
		}
		vs := make([]Verdict, len(judges))
		for n, j := range judges {
			vs[n] = j.judge(outputs[i], f.layout, f.err)
		}
		each(vs)
		return true
	})
	return stopped
}

// excuseUnknownKey makes v, a MISMATCH or CHANGED, UNPROVEN if a key of package.toml
// that sx does not know may account for the difference: a key in o's definition, or
// in that of a dependency whose digest is not the published one either. A definition
// that got such a key has changed, and an image that sx built from it must not
// replace the published one without --force.
func (j *Judge) excuseUnknownKey(v *Verdict, o *graph.Output) {
	for _, ref := range j.View.Graph.Closure([]graph.Ref{o.Ref}) {
		dep := j.View.Graph.Output(ref)
		if len(dep.Definition.UnknownKeys) == 0 || dep != o && j.asPublished(dep) {
			continue
		}
		v.Word = Unproven
		v.Note = fmt.Sprintf("built here, and the digest differs from the published %s; but sx does not know what the key %s in %s/package.toml means",
			text.Abbreviate(v.Want.String()), dep.Definition.UnknownKeys[0], dep.Definition.Dir)
		return
	}
}

// asPublished reports whether out/ has the published image of o.
func (j *Judge) asPublished(o *graph.Output) bool {
	layout, err := j.View.Check(o)
	if err != nil {
		return false
	}
	got, found := publishedManifest(o, layout.Manifests)
	want, ok := j.published(o.String())
	return found && ok && got == want
}
