package receipt

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// The types that a statement names.
//
// Source: https://github.com/in-toto/attestation/tree/main/spec/v1 and
// https://slsa.dev/spec/v1.0/provenance.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	BuildType     = "https://codeberg.org/stagex/sx/receipt/v1"
	builderID     = "https://codeberg.org/stagex/sx/engine/"
)

// Namespace stands before an output's name in a subject.
const Namespace = "stagex/"

// Statement says that a build of an output gave a digest. Its JSON is an in-toto statement
// (v1) with a SLSA provenance (v1) as predicate.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Resource names something by its digest, an in-toto ResourceDescriptor.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Predicate is a SLSA provenance.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition says what was built.
type BuildDefinition struct {
	BuildType string     `json:"buildType"`
	External  External   `json:"externalParameters"`
	Internal  Internal   `json:"internalParameters"`
	Resolved  []Resource `json:"resolvedDependencies,omitempty"`
}

// External is what a user of sx chose.
type External struct {
	Output   string `json:"output"`
	Platform string `json:"platform"`
}

// Internal is what else decided the bytes, or shows where they come from.
type Internal struct {
	Key         string        `json:"key"`   // hash of all inputs, hexadecimal
	Probe       string        `json:"probe"` // digest of the image that the engine was probed with
	NoCache     bool          `json:"noCache"`
	Network     bool          `json:"network"`
	Snapshotter string        `json:"snapshotter,omitempty"`
	Machine     cache.Machine `json:"machine,omitzero"`
}

// RunDetails says who built, and when.
type RunDetails struct {
	Builder  Builder  `json:"builder"`
	Metadata Metadata `json:"metadata"`
}

// Builder is the kind of engine, with the versions of BuildKit and sx.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// Metadata tells one build from others.
type Metadata struct {
	InvocationID string    `json:"invocationId"`
	StartedOn    time.Time `json:"startedOn"`
	FinishedOn   time.Time `json:"finishedOn"`
}

// The kinds of resolved dependencies.
const (
	KindOutput = "output" // an output of the tree
	KindSource = "source" // a file that package.toml names
	KindImage  = "image"  // an image of another registry
)

// New returns the statement about a build here: rec is its record, o the output of the
// tree that it is current for.
func New(o *graph.Output, rec cache.Record) (Statement, error) {
	if rec.Origin != cache.BuiltHere || len(rec.Manifests) != 1 {
		return Statement{}, fmt.Errorf("%s: a receipt is about one image that was built here", o.Ref)
	}
	m := rec.Manifests[0]
	definition := BuildDefinition{
		BuildType: BuildType,
		External:  External{o.Ref.String(), m.Platform},
		Internal: Internal{
			Key: rec.Key.String(), Probe: rec.Engine.Probe, NoCache: rec.NoCache, Network: rec.Network,
			Snapshotter: rec.Engine.Snapshotter, Machine: rec.Engine.Machine,
		},
		Resolved: resolved(o, rec),
	}
	s := Statement{
		Type: StatementType, PredicateType: PredicateType,
		Subject: []Resource{{Name: Namespace + o.Ref.String(), Digest: sha256Of(m.Digest.Hex())}},
		Predicate: Predicate{definition, RunDetails{
			Builder:  Builder{builderID + rec.Engine.Kind, map[string]string{"buildkit": rec.Engine.BuildKit, "sx": rec.Engine.SX}},
			Metadata: Metadata{StartedOn: rec.Started.UTC(), FinishedOn: rec.Finished.UTC()},
		}},
	}
	id := sha256.Sum256(s.Bytes())
	s.Predicate.RunDetails.Metadata.InvocationID = hex.EncodeToString(id[:16])
	return s, nil
}

func sha256Of(hexadecimal string) map[string]string {
	return map[string]string{"sha256": hexadecimal}
}

// resolved lists what rec was built from, sorted by kind and name.
func resolved(o *graph.Output, rec cache.Record) (all []Resource) {
	add := func(kind, name, hexadecimal string) {
		all = append(all, Resource{name, sha256Of(hexadecimal), map[string]string{"kind": kind}})
	}
	for _, d := range rec.Deps {
		for _, m := range d.Images {
			add(KindOutput, Namespace+d.Output, m.Digest.Hex())
		}
	}
	for _, s := range o.Definition.Sources {
		add(KindSource, s.File, s.Hash.String())
	}
	for _, image := range o.Definition.Images {
		if d, err := oci.ParseDigest(image.Digest); err == nil {
			add(KindImage, image.Source(), d.Hex())
		}
	}
	slices.SortFunc(all, func(a, b Resource) int {
		return cmp.Or(cmp.Compare(a.Annotations["kind"], b.Annotations["kind"]), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest["sha256"], b.Digest["sha256"]))
	})
	return slices.CompactFunc(all, func(a, b Resource) bool { return a.Name == b.Name && a.Digest["sha256"] == b.Digest["sha256"] })
}

// Output returns the name of the output that s is about.
func (s Statement) Output() string { return s.Predicate.BuildDefinition.External.Output }

// Digest returns the digest of the image manifest that the build gave.
func (s Statement) Digest() oci.Digest {
	d, _ := oci.ParseDigest("sha256:" + s.Subject[0].Digest["sha256"]) // Parse checked it
	return d
}

// Key returns the hash of the inputs, hexadecimal.
func (s Statement) Key() string { return s.Predicate.BuildDefinition.Internal.Key }

// Machine returns where the build ran, as far as that is said.
func (s Statement) Machine() cache.Machine { return s.Predicate.BuildDefinition.Internal.Machine }

// Finished returns when the build ended, by the clock of its machine.
func (s Statement) Finished() time.Time { return s.Predicate.RunDetails.Metadata.FinishedOn }

// Bytes returns the one form of s that is signed.
func (s Statement) Bytes() []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic("receipt: internal error: " + err.Error()) // all fields are plain
	}
	return data
}

// Parse reads a statement, which must be exactly what [Statement.Bytes] returns for it: so
// every reader of its bytes reads the same.
func Parse(data []byte) (s Statement, err error) {
	if err := oci.CheckBounds(data); err != nil {
		return s, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Statement{}, fmt.Errorf("it is no statement that this sx understands: %w", err)
	}
	if err := s.check(); err != nil {
		return Statement{}, err
	}
	if !bytes.Equal(s.Bytes(), data) {
		return Statement{}, errors.New("it is not written as sx writes statements")
	}
	return s, nil
}

func (s Statement) check() error {
	d := s.Predicate.BuildDefinition
	switch {
	case s.Type != StatementType:
		return fmt.Errorf("its type is %.100q, want %q", s.Type, StatementType)
	case s.PredicateType != PredicateType:
		return fmt.Errorf("its predicate is %.100q, want %q", s.PredicateType, PredicateType)
	case d.BuildType != BuildType:
		return fmt.Errorf("its build type is %.100q, want %q", d.BuildType, BuildType)
	case len(s.Subject) != 1:
		return fmt.Errorf("it is about %d images, want one", len(s.Subject))
	case s.Subject[0].Name != Namespace+d.External.Output:
		return fmt.Errorf("its subject is %.100q, and what it built %.100q", s.Subject[0].Name, d.External.Output)
	}
	if _, err := graph.ParseRef(d.External.Output); err != nil {
		return fmt.Errorf("it is about %.100q, which is no output: %w", d.External.Output, err)
	}
	if _, err := oci.ParseDigest("sha256:" + s.Subject[0].Digest["sha256"]); err != nil {
		return fmt.Errorf("its subject has no sha256: %w", err)
	}
	return nil
}

// Took returns how long the build took, by the clock of its machine.
func (s Statement) Took() time.Duration {
	m := s.Predicate.RunDetails.Metadata
	return max(m.FinishedOn.Sub(m.StartedOn), 0)
}
