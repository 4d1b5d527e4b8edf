package checkout

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/fetch/gitpack"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// server is the repository of a Source, which is asked when it must be.
type server struct {
	source  Source
	options gitpack.Options
	remote  *gitpack.Remote
}

func (s *server) open(ctx context.Context) (err error) {
	if s.remote == nil {
		s.remote, err = gitpack.Open(ctx, s.source.URL, s.options)
	}
	return err
}

func (s *server) tag(ctx context.Context) (gitpack.Tag, error) {
	if err := s.open(ctx); err != nil {
		return gitpack.Tag{}, err
	}
	return s.remote.Tag(ctx, s.source.Tag)
}

// pack fetches an object with its tree into the file at path.
func (s *server) pack(ctx context.Context, object, path string) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	temp, err := disk.CreateTemp(filepath.Dir(path))
	if err != nil {
		return &transfer.LocalError{Err: err}
	}
	defer temp.Discard()
	err = s.remote.Pack(ctx, object, temp.File)
	if err == nil {
		err = errors.Join(temp.File.Sync(), temp.File.Close())
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Path, path); err != nil {
		return &transfer.LocalError{Err: err}
	}
	return disk.SyncDir(filepath.Dir(path))
}
