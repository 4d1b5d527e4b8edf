package cache

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/oci"
)

// Origin says how an output came to be. There is no word for "unknown": such an
// output has no record.
type Origin string

const (
	BuiltHere Origin = "built here"
	Preseeded Origin = "preseeded"
)

// Record is how one output came to be.
type Record struct {
	Output    string         `json:"output"`
	Origin    Origin         `json:"origin"`
	Key       Key            `json:"key"`
	Manifests []oci.Manifest `json:"manifests"` // the images, in the index's order
	Index     oci.Digest     `json:"index"`     // Layout.Index and Top as the build left them
	Top       oci.Digest     `json:"top"`
	Deps      Deps           `json:"deps,omitempty"`
	Foreign   []string       `json:"foreign,omitempty"` // images of other registries, "docker.io/library/debian@sha256:…", sorted
	Engine    EngineInfo     `json:"engine"`
	NoCache   bool           `json:"no_cache"` // the engine was told to reuse nothing
	Network   bool           `json:"network"`  // some RUN had network
	From      string         `json:"from,omitempty"`
	Started   time.Time      `json:"started"`
	Finished  time.Time      `json:"finished"`
	Log       string         `json:"log,omitempty"` // path below the store's folder
}

// Deps are what an output was built from, sorted by name. As JSON they are an
// object, output → images.
type Deps []Dep

// Dep is an output and its images that were used.
type Dep struct {
	Output string
	Images []oci.Manifest
}

// Images are those of the output, none where it is no dependency.
func (d Deps) Images(output string) []oci.Manifest {
	i, ok := slices.BinarySearchFunc(d, output, func(d Dep, output string) int { return strings.Compare(d.Output, output) })
	if !ok {
		return nil
	}
	return d[i].Images
}

// MarshalJSON implements [json.Marshaler].
func (d Deps) MarshalJSON() ([]byte, error) {
	images := make(map[string][]oci.Manifest, len(d))
	for _, dep := range d {
		images[dep.Output] = dep.Images
	}
	return json.Marshal(images)
}

// UnmarshalJSON implements [json.Unmarshaler]. A field that it does not know is an
// error.
func (d *Deps) UnmarshalJSON(data []byte) error {
	var images map[string][]oci.Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&images); err != nil {
		return err
	}
	*d = nil
	for _, name := range slices.Sorted(maps.Keys(images)) {
		*d = append(*d, Dep{name, images[name]})
	}
	return nil
}

// EngineInfo is what a build ran on; empty for a preseeded output.
type EngineInfo struct {
	Kind     string `json:"kind,omitempty"`     // "embedded", "docker", "ssh", …
	BuildKit string `json:"buildkit,omitempty"` // its version
	SX       string `json:"sx,omitempty"`       // the version of sx
	Probe    string `json:"probe,omitempty"`    // digest of the probe image it built
	// Snapshotter is how it stacks layers, such as "overlayfs".
	Snapshotter string `json:"snapshotter,omitempty"`
}

// ForgedError says that a record was not written with this user's key: it came
// with a copied tree, say. It proves nothing.
type ForgedError struct{ Path string }

func (e *ForgedError) Error() string {
	return fmt.Sprintf("reading record %q: it was not written by this user's sx", e.Path)
}

// VersionError says that a record was written by a sx that records otherwise, or
// by none. It is an fs.ErrNotExist: to this sx there is no record.
type VersionError struct {
	Path    string
	Version int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("reading record %q: version %d is of another version of sx", e.Path, e.Version)
}

// Is makes the error an fs.ErrNotExist.
func (e *VersionError) Is(target error) bool { return target == fs.ErrNotExist }

// A record's file is one JSON object without a newline after it, so that no part
// of it is valid. The MAC is over the bytes of "record" as they stand.
type recordFile struct {
	Version int             `json:"version"`
	MAC     string          `json:"mac"` // HMAC-SHA256, hexadecimal
	Record  json.RawMessage `json:"record"`
}

const (
	recordVersion = 2
	recordPurpose = "sx record 2"
	recordLimit   = 4 << 20
)

// errMAC becomes a ForgedError where the path is known.
var errMAC = errors.New("the MAC is wrong")

func formatRecord(r Record, key disk.Key) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Started, r.Finished = r.Started.UTC(), r.Finished.UTC()
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	mac := hex.EncodeToString(key.MAC(recordPurpose, body))
	return json.Marshal(recordFile{recordVersion, mac, body})
}

func parseRecord(data []byte, key disk.Key) (Record, error) {
	if err := oci.CheckBounds(data); err != nil {
		return Record{}, err
	}
	var file recordFile
	if err := json.Unmarshal(data, &file); err != nil {
		return Record{}, err
	}
	if file.Version != recordVersion {
		return Record{}, &VersionError{Version: file.Version}
	}
	if !key.Verify(recordPurpose, file.Record, file.MAC) {
		return Record{}, errMAC
	}
	dec := json.NewDecoder(bytes.NewReader(file.Record))
	dec.DisallowUnknownFields()
	var r Record
	// What this user's key signed and this sx does not know is another sx's.
	if dec.Decode(&r) != nil || r.check() != nil {
		return Record{}, &VersionError{Version: file.Version}
	}
	return r, nil
}

func (r Record) check() error {
	if err := CheckName(r.Output); err != nil {
		return err
	}
	if r.Origin != BuiltHere && r.Origin != Preseeded {
		return fmt.Errorf("origin %q is unknown", r.Origin)
	}
	if len(r.Manifests) == 0 {
		return errors.New("it names no manifest")
	}
	for _, m := range r.Manifests {
		if m.Digest.IsZero() {
			return errors.New("a manifest has no digest")
		}
	}
	return nil
}

// Exact says in what l, which Check or Verify gave, is not the folder that the
// build of r left, down to the bytes of index.json; nil when it is. Other tools
// than sx read an output from its index.json, so a digest in it proves little
// while anything else lies there too.
func (r Record) Exact(l layout.Layout) error {
	switch {
	case r.Output != l.Output:
		return fmt.Errorf("the record is of output %q", r.Output)
	case !slices.Equal(r.Manifests, l.Manifests):
		return errors.New("it holds other images than those of its record")
	case r.Index.IsZero() || r.Top.IsZero():
		return errors.New("its record does not say what index.json was")
	case l.OneLevel || r.Index != l.Index:
		return errors.New("its image index is not that of its record")
	case r.Top != l.Top:
		return errors.New("its index.json is not that of its record")
	case len(l.Stray) > 0:
		return &layout.StrayError{Paths: l.Stray}
	}
	return nil
}
