package cache

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"

	"codeberg.org/stagex/sx/cache/disk"
)

// inputs/<key> keeps what a key is the hash of, as the canonical JSON that was
// hashed: so a file verifies itself, and equal inputs are kept once. Nothing is
// decided by them; they say what a key alone cannot: which of its parts changed.

// inputsLimit bounds a file of inputs: a listing of some thousand files.
const inputsLimit = 16 << 20

func (s *Store) inputsPath(k Key) string { return s.Dir("inputs", k.String()) }

// PutInputs is NewKey, and keeps v for Inputs.
func (s *Store) PutInputs(v any) (Key, error) {
	data, err := canonical(v)
	if err != nil {
		return Key{}, fmt.Errorf("hashing a key: %w", err)
	}
	key := Key{sha256.Sum256(data)}
	if s.readOnly != nil {
		return key, fmt.Errorf("keeping inputs: %w", s.readOnly)
	}
	if _, err := s.readInputs(key); err == nil {
		return key, nil
	}
	if _, err := s.Folder("inputs"); err != nil {
		return key, err
	}
	return key, disk.WriteFile(s.inputsPath(key), data, 0o600, s.Dir("tmp"))
}

// Inputs reads what PutInputs kept under a key into v. Where there is nothing,
// or what is there is not what the key is of, the error is fs.ErrNotExist.
func (s *Store) Inputs(k Key, v any) error {
	data, err := s.readInputs(k)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading the inputs of key %s: %w", k, err)
	}
	return nil
}

func (s *Store) readInputs(k Key) ([]byte, error) {
	data, err := disk.ReadFile(s.inputsPath(k), inputsLimit)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != k.sum {
		return nil, &fs.PathError{Op: "read", Path: s.inputsPath(k), Err: fs.ErrNotExist}
	}
	return data, nil
}
