package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// snapshots keeps each definition's files as they were when first read, so
// that what is hashed, judged and built are the same bytes.
type snapshots struct {
	mu   sync.Mutex
	byID map[string]*snapshot
}

type snapshot struct {
	once  sync.Once
	Files []graph.File
	list  []Listed
	err   error
}

// Listed is a file of a context as the key sees it: mtimes are left out.
type Listed struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Sum  string `json:"sum"` // sha256 of a file's bytes or of a link's target
}

func (t *Tree) Snapshot(d *graph.Definition) (*snapshot, error) {
	t.snapshots.mu.Lock()
	if t.snapshots.byID == nil {
		t.snapshots.byID = map[string]*snapshot{}
	}
	s := t.snapshots.byID[d.Dir]
	if s == nil {
		s = &snapshot{}
		t.snapshots.byID[d.Dir] = s
	}
	t.snapshots.mu.Unlock()
	s.once.Do(func() {
		if s.Files, s.err = graph.Snapshot(t.FS, d); s.err != nil {
			return
		}
		s.list = list(s.Files)
		if items := t.Memory.Items(d); items != nil && !slices.Equal(s.list, listItems(items)) {
			t.Memory.Memory.Forget(d.Dir) // or the next run would say the same
			s.err = errors.New("it changed since this run began; run it again")
		}
	})
	if s.err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.Dir, s.err)
	}
	return s, nil
}

// Containerfile is what the build will read.
func (s *snapshot) Containerfile() []byte {
	for _, f := range s.Files {
		if f.Path == "Containerfile" {
			return f.Data
		}
	}
	return nil
}

// DefinitionTime returns the newest mtime of a definition's files, zero if they cannot
// be read.
func (t *Tree) DefinitionTime(d *graph.Definition) time.Time {
	if r, ok := t.Memory.recalled(d); ok {
		return r.newest
	}
	var newest time.Time
	snap, err := t.Snapshot(d)
	if err != nil {
		return newest
	}
	for _, f := range snap.Files {
		if !f.Mode.IsDir() && f.ModTime.After(newest) {
			newest = f.ModTime
		}
	}
	return newest
}

func list(files []graph.File) []Listed {
	var list []Listed
	for _, f := range files {
		sum := sha256.Sum256(append(f.Data[:len(f.Data):len(f.Data)], f.Link...))
		list = append(list, Listed{f.Path, f.Mode.String(), hex.EncodeToString(sum[:])})
	}
	return list
}

// listing is what d's folder holds, as the snapshot has it. Files are not read
// where that is known.
func (t *Tree) listing(d *graph.Definition) ([]Listed, error) {
	if items := t.Memory.Items(d); items != nil {
		return listItems(items), nil
	}
	snap, err := t.Snapshot(d)
	if err != nil {
		return nil, err
	}
	return snap.list, nil
}

// KeyParts is everything that decides an output's bytes. Its canonical JSON is
// hashed; a change of this struct makes every output stale once.
type KeyParts struct {
	Format  int                        `json:"format"`
	Request graph.Request              `json:"request"`
	Context []Listed                   `json:"context"`
	Sources map[string]string          `json:"sources"` // file name -> sha256
	Deps    map[string]map[string]bool `json:"deps"`    // output -> "platform digest"
	Probe   string                     `json:"probe"`
}

// Key hashes all that decides the bytes of o, given what its dependencies are.
func (t *Tree) Key(o *graph.Output, req graph.Request, deps cache.Deps, probe string) (cache.Key, error) {
	parts, err := t.Parts(o, req, deps, probe)
	if err != nil {
		return cache.Key{}, err
	}
	return cache.NewKey(parts)
}

// Keep is Key, and keeps what it is the hash of, so that a later plan can say
// what changed since. Req is a [graph.Output.Request] of o.
func (t *Tree) Keep(o *graph.Output, req graph.Request, deps cache.Deps, probe string) (cache.Key, error) {
	parts, err := t.Parts(o, req, deps, probe)
	if err != nil {
		return cache.Key{}, err
	}
	key, err := t.Store.PutInputs(parts)
	if err == nil {
		t.kept.Store(o, keptKey{key, req.Platforms})
	}
	return key, err
}

// keptKey is the last key that Keep returned for an output. A record that has it was made
// from the same dependencies and on an engine with the same probe: the key covers them. The
// definition is the same too: a Tree reads it once.
type keptKey struct {
	cache.Key
	platforms []string
}

// isKept reports whether Keep has returned the key of rec, a record of o, for platforms.
func (t *Tree) isKept(o *graph.Output, platforms []string, rec cache.Record) bool {
	kept, _ := t.kept.Load(o)
	k, ok := kept.(keptKey)
	return ok && k.Key == rec.Key && slices.Equal(k.platforms, o.Platforms(platforms))
}

func (t *Tree) Parts(o *graph.Output, req graph.Request, deps cache.Deps, probe string) (KeyParts, error) {
	context, err := t.listing(o.Definition)
	if err != nil {
		return KeyParts{}, err
	}
	parts := KeyParts{Format: 1, Request: req, Context: context, Probe: probe,
		Sources: map[string]string{}, Deps: ImageSets(deps)}
	for _, s := range o.Definition.Sources {
		parts.Sources[s.File] = s.Hash.String()
	}
	return parts, nil
}

// ImageSets gives the images of each dependency as "<platform> <digest>".
func ImageSets(deps cache.Deps) map[string]map[string]bool {
	sets := make(map[string]map[string]bool, len(deps))
	for _, dep := range deps {
		set := map[string]bool{}
		for _, m := range dep.Images {
			set[m.Platform+" "+m.Digest.String()] = true
		}
		sets[dep.Output] = set
	}
	return sets
}
