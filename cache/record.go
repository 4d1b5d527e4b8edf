package cache

import (
	"bytes"
	"crypto/sha256"
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

// Origin says how an output was made. An output of unknown origin has no record.
type Origin string

// The origins.
const (
	BuiltHere Origin = "built here"
	Preseeded Origin = "preseeded" // pulled from a registry
	// InHub is that of an image that an engine pushed to a hub, and whose layers were
	// never here. It is only in hub records.
	InHub Origin = "in the hub"
)

// Record says how one output was made.
type Record struct {
	Output    string         `json:"output"`
	Origin    Origin         `json:"origin"`
	Key       Key            `json:"key"`
	Manifests []oci.Manifest `json:"manifests"` // the images, in the index's order
	Index     oci.Digest     `json:"index"`     // Layout.Index and Top after the build
	Top       oci.Digest     `json:"top"`
	Deps      Deps           `json:"deps,omitempty"`
	Foreign   []string       `json:"foreign,omitempty"` // images of other registries, "docker.io/library/debian@sha256:…", sorted
	Engine    EngineInfo     `json:"engine"`
	Also      []EngineInfo   `json:"also,omitempty"` // other engines that built the very same images
	NoCache   bool           `json:"no_cache"`       // the engine did not use its cache
	Network   bool           `json:"network"`        // a RUN had a network
	From      string         `json:"from,omitempty"`
	Started   time.Time      `json:"started"`
	Finished  time.Time      `json:"finished"`
	Log       string         `json:"log,omitempty"` // path below the store's folder
}

// Engines returns the engines that built the images, one or more.
func (r Record) Engines() []EngineInfo { return append([]EngineInfo{r.Engine}, r.Also...) }

// Deps lists the dependencies of a build, sorted by name. In JSON it is an object,
// output → images.
type Deps []Dep

// Dep is a dependency and the images of it that were used.
type Dep struct {
	Output string
	Images []oci.Manifest
}

// Images returns the images of a dependency, nil if output is not one.
func (d Deps) Images(output string) []oci.Manifest {
	i, ok := slices.BinarySearchFunc(d, output, func(d Dep, output string) int { return strings.Compare(d.Output, output) })
	if !ok {
		return nil
	}
	return d[i].Images
}

// sorted reports whether the dependencies are in order, each once.
func (d Deps) sorted() bool {
	for i := range d {
		if i > 0 && d[i-1].Output >= d[i].Output {
			return false
		}
	}
	return true
}

// MarshalJSON implements [json.Marshaler].
func (d Deps) MarshalJSON() ([]byte, error) {
	images := make(map[string][]oci.Manifest, len(d))
	for _, dep := range d {
		images[dep.Output] = dep.Images
	}
	return json.Marshal(images)
}

// UnmarshalJSON implements [json.Unmarshaler]. An unknown field is an error.
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

// EngineInfo describes the engine of a build. It is empty for a preseeded output.
type EngineInfo struct {
	Kind string `json:"kind,omitempty"` // "embedded", "docker", "ssh", …
	// Name is what the user called the engine at the time, "" if it had no name. It tells
	// no two engines apart: a name can be pointed elsewhere.
	Name string `json:"name,omitempty"`
	// Address is where the engine was: its address without anything secret, or its kind if
	// it has none. It is "" in records of before sx recorded it.
	Address  string `json:"address,omitempty"`
	BuildKit string `json:"buildkit,omitempty"` // its version
	SX       string `json:"sx,omitempty"`       // the version of sx
	Probe    string `json:"probe,omitempty"`    // digest of the probe image it built
	// Snapshotter is the engine's way to stack layers, such as "overlayfs".
	Snapshotter string `json:"snapshotter,omitempty"`
	// Machine is where the embedded engine ran, if that was recorded.
	Machine Machine `json:"machine,omitzero"`
}

// Machine describes a machine without telling whose it is. The texts are the kernel's.
type Machine struct {
	CPUVendor string `json:"cpu_vendor,omitempty"` // "GenuineIntel"
	CPUModel  string `json:"cpu_model,omitempty"`
	Kernel    string `json:"kernel,omitempty"` // its release, such as "6.12.9"
}

// ForgedError reports that a record was not written with this user's key: for
// example, it came with a copied tree. It proves nothing.
type ForgedError struct{ Path string }

func (e *ForgedError) Error() string {
	return fmt.Sprintf("reading record %q: it was not written by this user's sx", e.Path)
}

// VersionError reports that a record has another version, or none. It is an
// fs.ErrNotExist: to this sx there is no record.
type VersionError struct {
	Path    string
	Version int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("reading record %q: version %d is of another version of sx", e.Path, e.Version)
}

// Is reports that the error is an fs.ErrNotExist.
func (e *VersionError) Is(target error) bool { return target == fs.ErrNotExist }

// recordFile is one JSON object without a newline after it, so that no part of a
// file is a valid one. The MAC covers the bytes of "record" as they are in the file.
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

// errMAC is replaced by a ForgedError, which knows the path.
var errMAC = errors.New("the MAC is wrong")

// formatRecord returns the content of a record's file.
func formatRecord(r Record, key disk.Key) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Started, r.Finished = r.Started.UTC(), r.Finished.UTC()
	// As json.Marshal(recordFile{…}), which would compact and escape the record again.
	file := fmt.Appendf(make([]byte, 0, 1<<10+256*len(r.Deps)), `{"version":%d,"mac":"`, recordVersion)
	mac := len(file)
	file = append(file, make([]byte, hex.EncodedLen(sha256.Size))...)
	file = append(file, `","record":`...)
	body := len(file)
	file, err := appendRecord(file, r)
	if err != nil {
		return nil, err
	}
	hex.Encode(file[mac:], key.MAC(recordPurpose, file[body:]))
	return append(file, '}'), nil
}

// parseRecord reads a record's file. The MAC is checked before the record is decoded.
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
	// This user's key signed it, so another sx wrote what this one does not know.
	if dec.Decode(&r) != nil || r.check() != nil {
		return Record{}, &VersionError{Version: file.Version}
	}
	return r, nil
}

// check refuses a record without what every record has.
func (r Record) check() error {
	if err := CheckName(r.Output); err != nil {
		return err
	}
	if r.Origin != BuiltHere && r.Origin != Preseeded && r.Origin != InHub {
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

// Exact returns how l, which Check or Verify returned, differs from the folder that
// the build of r left, down to the bytes of index.json; nil if it does not. Other
// tools start reading at index.json, so a digest in it proves little if other files
// are there too.
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
