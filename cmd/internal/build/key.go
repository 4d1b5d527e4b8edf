package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

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
	files []graph.File
	list  []listed
	err   error
}

// listed is a file of a context as the key sees it: mtimes are left out.
type listed struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Sum  string `json:"sum"` // sha256 of a file's bytes or of a link's target
}

func (t *Tree) snapshot(d *graph.Definition) (*snapshot, error) {
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
		if s.files, s.err = graph.Snapshot(t.FS, d); s.err != nil {
			return
		}
		s.list = list(s.files)
		if items := t.memory.items(d); items != nil && !slices.Equal(s.list, listItems(items)) {
			t.memory.memory.Forget(d.Dir) // or the next run would say the same
			s.err = errors.New("it changed since this run began; run it again")
		}
	})
	if s.err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.Dir, s.err)
	}
	return s, nil
}

// hold reads the definitions of a plan that will run, so that an edit while it
// runs changes neither what is built nor what is judged.
func (t *Tree) hold(p *Plan) error {
	for _, s := range p.Steps {
		if _, err := t.snapshot(s.Output.Definition); err != nil {
			return err
		}
	}
	return nil
}

// containerfile is what the build will read.
func (s *snapshot) containerfile() []byte {
	for _, f := range s.files {
		if f.Path == "Containerfile" {
			return f.Data
		}
	}
	return nil
}

func list(files []graph.File) []listed {
	var list []listed
	for _, f := range files {
		sum := sha256.Sum256(append(f.Data[:len(f.Data):len(f.Data)], f.Link...))
		list = append(list, listed{f.Path, f.Mode.String(), hex.EncodeToString(sum[:])})
	}
	return list
}

// listing is what d's folder holds, as the snapshot has it. Files are not read
// where that is known.
func (t *Tree) listing(d *graph.Definition) ([]listed, error) {
	if items := t.memory.items(d); items != nil {
		return listItems(items), nil
	}
	snap, err := t.snapshot(d)
	if err != nil {
		return nil, err
	}
	return snap.list, nil
}

// keyParts is everything that decides an output's bytes. Its canonical JSON is
// hashed; a change of this struct makes every output stale once.
type keyParts struct {
	Format  int                        `json:"format"`
	Request graph.Request              `json:"request"`
	Context []listed                   `json:"context"`
	Sources map[string]string          `json:"sources"` // file name -> sha256
	Deps    map[string]map[string]bool `json:"deps"`    // output -> "platform digest"
	Probe   string                     `json:"probe"`
}

// key hashes all that decides the bytes of o, given what its dependencies are.
func (t *Tree) key(o *graph.Output, req graph.Request, deps cache.Deps, probe string) (cache.Key, error) {
	parts, err := t.parts(o, req, deps, probe)
	if err != nil {
		return cache.Key{}, err
	}
	return cache.NewKey(parts)
}

// keep is key, and keeps what it is the hash of, so that a later plan can say
// what changed since.
func (t *Tree) keep(o *graph.Output, req graph.Request, deps cache.Deps, probe string) (cache.Key, error) {
	parts, err := t.parts(o, req, deps, probe)
	if err != nil {
		return cache.Key{}, err
	}
	return t.Store.PutInputs(parts)
}

func (t *Tree) parts(o *graph.Output, req graph.Request, deps cache.Deps, probe string) (keyParts, error) {
	context, err := t.listing(o.Definition)
	if err != nil {
		return keyParts{}, err
	}
	parts := keyParts{Format: 1, Request: req, Context: context, Probe: probe,
		Sources: map[string]string{}, Deps: imageSets(deps)}
	for _, s := range o.Definition.Sources {
		parts.Sources[s.File] = s.Hash.String()
	}
	return parts, nil
}

// imageSets gives the images of each dependency as "<platform> <digest>".
func imageSets(deps cache.Deps) map[string]map[string]bool {
	sets := map[string]map[string]bool{}
	for _, dep := range deps {
		set := map[string]bool{}
		for _, m := range dep.Images {
			set[m.Platform+" "+m.Digest.String()] = true
		}
		sets[dep.Output] = set
	}
	return sets
}
