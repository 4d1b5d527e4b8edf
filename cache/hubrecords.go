package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"codeberg.org/stagex/sx/cache/disk"
)

func (s *records) hubPath(output string) string { return s.Dir("hub", output+".json") }

// HubRecord returns the record of an image that an engine pushed to a hub, of which out/
// has nothing. Its From is "<host>/<repository>". It proves nothing: the layers were never
// here. Errors are those of Record.
func (s *records) HubRecord(output string) (Record, error) {
	if err := CheckName(output); err != nil {
		return Record{}, err
	}
	r, err := s.readRecord(s.hubPath(output), output)
	if err == nil && r.Origin != InHub {
		return Record{}, &ForgedError{s.hubPath(output)}
	}
	return r, err
}

// PutHubRecord writes the record of an image in a hub.
func (s *records) PutHubRecord(r Record) error {
	r.Origin = InHub
	if s.readOnly != nil {
		return fmt.Errorf("recording output %q: %w", r.Output, s.readOnly)
	}
	data, err := formatRecord(r, s.key)
	if err == nil {
		_, err = s.Folder("hub")
	}
	if err == nil {
		err = disk.WriteFile(s.hubPath(r.Output), data, 0o600, s.Dir("tmp"))
	}
	if err != nil {
		return fmt.Errorf("recording output %q: %w", r.Output, err)
	}
	return nil
}

// ForgetHub removes the record of an image in a hub.
func (s *records) ForgetHub(output string) error {
	if err := CheckName(output); err != nil {
		return err
	}
	if err := os.Remove(s.hubPath(output)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting output %q: %w", output, err)
	}
	return nil
}
