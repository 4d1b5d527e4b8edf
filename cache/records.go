package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// records/<output>.json says how the layout now in out/ came to be.
// proofs/<output>/<hex>.json keeps, for every manifest digest that was ever built
// here, the last record of that, whatever lies in out/ now.

func (s *Store) recordPath(output string) string { return s.Dir("records", output+".json") }

func (s *Store) proofPath(output string, d oci.Digest) string {
	return s.Dir("proofs", output, d.Hex()+".json")
}

// Record returns how an output came to be. Without a record the error is
// fs.ErrNotExist, also a *VersionError where another version of sx left one, for one with a wrong MAC it is a *ForgedError, and one that is
// damaged is some other error.
func (s *Store) Record(output string) (Record, error) {
	if err := checkOutput(output); err != nil {
		return Record{}, err
	}
	return s.readRecord(s.recordPath(output), output)
}

// PutRecord writes an output's record. One that says "built here" also becomes
// the proof of each of its digests. "Preseeded" does not take the place of "built
// here" for the same key and manifests.
func (s *Store) PutRecord(r Record) error {
	if s.readOnly != nil {
		return fmt.Errorf("recording output %q: %w", r.Output, s.readOnly)
	}
	data, err := formatRecord(r, s.key)
	if err != nil {
		return fmt.Errorf("recording output %q: %w", r.Output, err)
	}
	if r.Origin == BuiltHere {
		if err := s.putProofs(r, data); err != nil {
			return fmt.Errorf("recording output %q: %w", r.Output, err)
		}
	} else if old, err := s.Record(r.Output); err == nil && old.Origin == BuiltHere &&
		old.Key == r.Key && slices.Equal(old.Manifests, r.Manifests) {
		return nil
	}
	return disk.WriteFile(s.recordPath(r.Output), data, 0o600, s.Dir("tmp"))
}

// Proof returns the record of building that very digest of that output here: the
// one kept for the digest, or else the output's own. What cannot be believed is no
// proof.
func (s *Store) Proof(output string, d oci.Digest) (Record, bool) {
	if checkOutput(output) != nil || d.IsZero() {
		return Record{}, false
	}
	for _, path := range []string{s.proofPath(output, d), s.recordPath(output)} {
		r, err := s.readRecord(path, output)
		if err == nil && r.Origin == BuiltHere && r.has(d) {
			return r, true
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("proof is not believed", zap.String("path", path), zap.Error(err))
		}
	}
	return Record{}, false
}

func (r Record) has(d oci.Digest) bool {
	return slices.ContainsFunc(r.Manifests, func(m oci.Manifest) bool { return m.Digest == d })
}

// putProofs goes before the record, so that a kill in between loses nothing.
func (s *Store) putProofs(r Record, data []byte) error {
	folder := s.Dir("proofs", r.Output)
	if err := disk.EnsurePrivate(folder); err != nil {
		return err
	}
	for _, m := range r.Manifests {
		if err := disk.WriteFile(s.proofPath(r.Output, m.Digest), data, 0o600, s.Dir("tmp")); err != nil {
			return err
		}
	}
	return disk.SyncDir(s.Dir("proofs"))
}

func (s *Store) readRecord(path, output string) (Record, error) {
	if r, ok := s.recallRecord(path, output); ok {
		return r, nil
	}
	name, _ := s.below(path)
	remember := s.learning(s.records, name)
	data, err := disk.ReadFile(path, recordLimit)
	if err != nil {
		return Record{}, fmt.Errorf("reading record: %w", err)
	}
	r, err := parseRecord(data, s.key)
	var version *VersionError
	if errors.As(err, &version) {
		version.Path = path
		return Record{}, version
	}
	if errors.Is(err, errMAC) || err == nil && r.Output != output {
		return Record{}, &ForgedError{path}
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading record %q: %w", path, err)
	}
	remember(packRecord(r, nil))
	return r, nil
}

// Forget removes the record of an output that is no more; proofs stay.
func (s *Store) Forget(output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	if err := os.Remove(s.recordPath(output)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting output %q: %w", output, err)
	}
	return nil
}
