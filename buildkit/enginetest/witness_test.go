package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// holding is the content of an image: the sha256 of each regular file, by path.
type holding map[string]string

// witness compares records with their images.
type witness struct {
	tree    *Tree
	store   *cache.Store
	outputs []string
	images  map[oci.Digest]holding   // by manifest, all that were ever seen whole
	made    map[cache.Key]oci.Digest // what each key gave
}

func newWitness(t *Tree) *witness {
	t.t.Helper()
	var key string
	for _, v := range t.Env {
		if state, ok := strings.CutPrefix(v, "XDG_STATE_HOME="); ok {
			key = filepath.Join(state, "sx", "record.key")
		}
	}
	t.Sx("build", "--all") // so that there is a store
	store, err := cache.Open(t.Dir, cache.Options{KeyFile: key})
	t.must(err)
	t.t.Cleanup(func() { store.Close() })
	return &witness{t, store, []string{"core-a", "core-b", "core-c"}, map[oci.Digest]holding{}, map[cache.Key]oci.Digest{}}
}

// inputs are the inputs that a key is the hash of.
type inputs struct {
	Context []struct{ Path, Mode, Sum string }
	Sources map[string]string
}

// check fails the test if a record names other files than its image has. It returns
// how many images it could compare: a disturbance may have damaged a blob.
func (w *witness) check(what string) (seen int) {
	t := w.tree.t
	t.Helper()
	for _, output := range w.outputs {
		rec, err := w.store.Record(output)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		w.tree.must(err)
		d := rec.Manifests[0].Digest
		if before, ok := w.made[rec.Key]; ok && before != d {
			t.Errorf("%s %s: the key %s gave %s, and now %s", what, output, rec.Key, before, d)
		}
		w.made[rec.Key] = d
		if w.images[d] == nil {
			w.images[d] = w.image(d)
		}
		want, ok := w.named(rec)
		if w.images[d] == nil || !ok {
			continue
		}
		seen++
		if !maps.Equal(want, w.images[d]) {
			t.Errorf("%s %s holds\n%v\nits record names\n%v", what, output, w.images[d], want)
		}
	}
	return seen
}

// named returns the content that an image of the tree [disturbed] should have by its
// record, false if a dependency was never seen.
func (w *witness) named(rec cache.Record) (holding, bool) {
	var in inputs
	w.tree.must(w.store.Inputs(rec.Key, &in))
	context := func(h holding, prefix string) {
		for _, f := range in.Context {
			if strings.HasPrefix(f.Mode, "-") {
				h[prefix+f.Path] = f.Sum
			}
		}
	}
	h := holding{}
	for _, dep := range rec.Deps {
		image := w.images[dep.Images[0].Digest]
		if image == nil {
			return nil, false
		}
		for path, sum := range image {
			switch rest, b := strings.CutPrefix(path, "b/"); {
			case rec.Output == "core-b":
				h[path] = sum
			case dep.Output == "core-a" && strings.HasPrefix(path, "src/"):
				h["a/"+strings.TrimPrefix(path, "src/")] = sum
			case dep.Output == "core-b" && b:
				h["b/"+rest] = sum
			}
		}
	}
	switch rec.Output {
	case "core-b":
		context(h, "b/")
	default:
		context(h, "ctx/")
	}
	for file, sum := range in.Sources {
		h["src/"+file], h["ctx/fetch/"+file] = sum, sum
	}
	return h, true
}

// image reads an image from the shared blobs, nil if a blob is damaged.
func (w *witness) image(d oci.Digest) holding {
	var m ocispecs.Manifest
	if data := w.blob(d.Hex()); data == nil || json.Unmarshal(data, &m) != nil {
		return nil
	}
	h := holding{}
	for _, l := range m.Layers {
		data := w.blob(l.Digest.Encoded())
		if data == nil {
			return nil
		}
		w.tree.must(h.add(data))
	}
	return h
}

func (w *witness) blob(hex64 string) []byte {
	data, err := os.ReadFile(filepath.Join(w.store.Dir("blobs"), "sha256", hex64))
	if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != hex64 {
		return nil
	}
	return data
}

// add unpacks a layer. Layers of these images remove nothing.
func (h holding) add(layer []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		f, err := r.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if f.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			return err
		}
		h[strings.TrimPrefix(f.Name, "/")] = hex.EncodeToString(sum.Sum(nil))
	}
}
