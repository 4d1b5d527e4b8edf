package cache

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// records are the store's files about how outputs were made:
//
//	records/<output>.json        of the layout in out/ now
//	proofs/<output>/<hex>.json   for each manifest digest that was ever built here,
//	                             the last record with it, a hard link
//	hub/<output>.json            of an image in a hub that out/ has not
//	inputs/<key>                 the inputs that a key is the hash of
type records struct {
	*folders
	key  disk.Key
	memo *memo.Memo // of the store's own folder; nil if nothing is remembered

	mu      sync.Mutex
	vouched map[[32]byte]bool
}

func (s *records) recordPath(output string) string { return s.Dir("records", output+".json") }

func (s *records) proofPath(output string, d oci.Digest) string {
	return s.Dir("proofs", output, d.Hex()+".json")
}

// Record returns how an output was made. The error is fs.ErrNotExist if there is no
// record (a *VersionError, which is one too, if another version of sx wrote it), a
// *ForgedError for a record with a wrong MAC, and another error for a damaged one.
func (s *records) Record(output string) (Record, error) {
	if err := CheckName(output); err != nil {
		return Record{}, err
	}
	return s.readRecord(s.recordPath(output), output)
}

// PutRecord writes an output's record. If its origin is BuiltHere it also becomes the
// proof of each of its digests. A Preseeded record does not replace a BuiltHere one with
// the same key and manifests.
func (s *records) PutRecord(r Record) error {
	if s.readOnly != nil {
		return fmt.Errorf("recording output %q: %w", r.Output, s.readOnly)
	}
	data, err := formatRecord(r, s.key)
	if err == nil && r.Origin == InHub {
		err = errors.New("it is not of a layout in out/")
	}
	if err != nil {
		return fmt.Errorf("recording output %q: %w", r.Output, err)
	}
	if r.Origin == BuiltHere {
		proofs, err := s.proofPaths(r)
		if err == nil {
			err = s.writeRecord(r, data, proofs)
		}
		if err != nil {
			return fmt.Errorf("recording output %q: %w", r.Output, err)
		}
		return nil
	}
	if old, err := s.Record(r.Output); err == nil && old.Origin == BuiltHere &&
		old.Key == r.Key && slices.Equal(old.Manifests, r.Manifests) {
		return nil
	}
	return s.writeRecord(r, data, nil)
}

// writeRecord writes the file of r, and remembers r: verdicts and plans need not read it.
// The proofs are names of the same file: it has them before it is the record, so that a
// kill in between loses nothing.
func (s *records) writeRecord(r Record, data []byte, proofs []string) error {
	path := s.recordPath(r.Output)
	st, err := disk.WriteLinked(path, proofs, data, 0o600, s.Dir("tmp"), time.Now().Add(-memo.Past))
	if err != nil {
		return err
	}
	if name, ok := s.memoName(path); ok && r.Deps.sorted() { // as they are read
		s.memo.PutMade(name, []memo.Item{{Mode: 0o600, Sum: sha256.Sum256(data), St: st}}, packRecord(r, nil))
	}
	return nil
}

// Proof returns the record of a build here of output that had digest d: the proof of d, or
// else the output's own record. A record that cannot be trusted is not a proof.
func (s *records) Proof(output string, d oci.Digest) (Record, bool) {
	if CheckName(output) != nil || d.IsZero() {
		return Record{}, false
	}
	for _, path := range []string{s.proofPath(output, d), s.recordPath(output)} {
		r, err := s.readRecord(path, output)
		if err == nil && r.Origin == BuiltHere && r.has(d) {
			return r, true
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("a proof is not valid", zap.String("path", path), zap.Error(err))
		}
	}
	return Record{}, false
}

func (r Record) has(d oci.Digest) bool {
	return slices.ContainsFunc(r.Manifests, func(m oci.Manifest) bool { return m.Digest == d })
}

// proofPaths returns where the proofs of r lie, in a folder that is there.
func (s *records) proofPaths(r Record) (paths []string, err error) {
	if _, err := disk.MakePrivate(s.Dir("proofs", r.Output)); err != nil {
		return nil, err
	}
	for _, m := range r.Manifests {
		paths = append(paths, s.proofPath(r.Output, m.Digest))
	}
	return paths, disk.SyncDir(s.Dir("proofs"))
}

// Keys returns the keys of all records and proofs of the outputs that wanted
// accepts. It skips files that cannot be read.
func (s *records) Keys(wanted func(output string) bool) (map[Key]bool, error) {
	keys := map[Key]bool{}
	files, err := filepath.Glob(s.Dir("records", "*.json"))
	hub, herr := filepath.Glob(s.Dir("hub", "*.json"))
	proofs, perr := filepath.Glob(s.Dir("proofs", "*", "*.json"))
	for _, path := range slices.Concat(files, hub, proofs) {
		output := strings.TrimSuffix(filepath.Base(path), ".json")
		if folder := filepath.Base(filepath.Dir(path)); folder != "records" && folder != "hub" {
			output = folder
		}
		if !wanted(output) {
			continue
		}
		if rec, err := s.readRecord(path, output); err == nil {
			keys[rec.Key] = true
		}
	}
	return keys, errors.Join(err, herr, perr)
}

func (s *records) readRecord(path, output string) (Record, error) {
	if r, ok := s.knownRecord(path, output); ok {
		return r, nil
	}
	if _, err := disk.StatPath(path); errors.Is(err, fs.ErrNotExist) { // in a first build, of each output
		return Record{}, &fs.PathError{Op: "reading record", Path: path, Err: fs.ErrNotExist}
	}
	name, _ := s.memoName(path)
	remember := observe(s.memo, name)
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

// Forget removes the record of an output. Proofs stay.
func (s *records) Forget(output string) error {
	if err := CheckName(output); err != nil {
		return err
	}
	if err := os.Remove(s.recordPath(output)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting output %q: %w", output, err)
	}
	return nil
}

// inputsLimit bounds a file of inputs: a listing of some thousand files.
const inputsLimit = 16 << 20

func (s *records) inputsPath(k Key) string { return s.Dir("inputs", k.String()) }

// PutInputs is NewKey, and keeps v for Inputs: as the canonical JSON that was
// hashed, so that the file verifies itself and equal inputs are kept once. Inputs
// only explain which part of a key changed; no decision depends on them.
func (s *records) PutInputs(v any) (Key, error) {
	data, err := canonical(v)
	if err != nil {
		return Key{}, fmt.Errorf("hashing a key: %w", err)
	}
	key := Key{sha256.Sum256(data)}
	if s.readOnly != nil {
		return key, fmt.Errorf("keeping inputs: %w", s.readOnly)
	}
	path := s.inputsPath(key)
	if _, err := disk.StatPath(path); err == nil {
		if _, err := s.readInputs(key); err == nil {
			return key, nil
		}
	}
	if _, err := s.Folder("inputs"); err != nil {
		return key, err
	}
	return key, disk.WriteFile(path, data, 0o600, s.Dir("tmp"))
}

// Inputs reads the value that PutInputs kept under a key into v. If there is no such
// file, or its hash is not the key, the error is fs.ErrNotExist.
func (s *records) Inputs(k Key, v any) error {
	data, err := s.readInputs(k)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading the inputs of key %s: %w", k, err)
	}
	return nil
}

func (s *records) readInputs(k Key) ([]byte, error) {
	data, err := disk.ReadFile(s.inputsPath(k), inputsLimit)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != k.sum {
		return nil, &fs.PathError{Op: "read", Path: s.inputsPath(k), Err: fs.ErrNotExist}
	}
	return data, nil
}

// knownRecord returns the remembered record of a file that has not changed.
func (s *records) knownRecord(path, output string) (Record, bool) {
	name, ok := s.memoName(path)
	if !ok {
		return Record{}, false
	}
	value, ok := s.memo.Get(name, nil)
	if !ok {
		return Record{}, false
	}
	u := unpackerOf(value)
	r := u.record()
	vouched := u.sums()
	if !u.Done() || r.Output != output {
		s.memo.Forget(name)
		return Record{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sum := range vouched {
		s.vouched[sum] = true
	}
	return r, true
}

// memoName returns the path of a record in the memo.
func (s *records) memoName(path string) (string, bool) {
	if s.memo == nil || len(path) <= len(s.dir)+1 {
		return "", false
	}
	return path[len(s.dir)+1:], true
}

// maxVouched bounds the sums that are kept with one record. A user who builds for
// several platforms in turns needs more than one.
const maxVouched = 4

// Vouch remembers sum together with an output's record, until the record is
// replaced. The sum is the hash of a question about the record that takes long to
// answer and was answered with yes; it must cover all that the answer depends on.
//
// This only saves time: without it a no-op computes the key of every output anew,
// which took 2.5 times the processor time (BenchmarkNoOp of cmd/internal/driver).
func (s *records) Vouch(r Record, sum [32]byte) {
	if s.memo == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vouched[sum] {
		return
	}
	s.vouched[sum] = true
	name, _ := s.memoName(s.recordPath(r.Output))
	s.memo.Update(name, func(value string) string {
		u := unpackerOf(value)
		was := u.record()
		sums := append([][32]byte{sum}, u.sums()...)
		if u.Failed || was.Key != r.Key {
			return value
		}
		return packRecord(was, sums[:min(len(sums), maxVouched)])
	})
}

// Vouched reports whether Vouch was called with sum, by this process or by an
// earlier one whose records this one has read.
func (s *records) Vouched(sum [32]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vouched[sum]
}
