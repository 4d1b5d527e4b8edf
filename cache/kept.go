package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
)

// Keep makes the staged layout a folder of its own instead of out/<output>, to be compared
// with others of the output: <store>/differs/<output>/<name>, whose path it returns. The
// name is one path element. The staging is used up, also by an error. See [Store.DropKept].
func (t *Staging) Keep(ctx context.Context, name string, index oci.Descriptor, annotations map[string]string) (Layout, string, error) {
	l, path, err := t.keep(ctx, name, index, annotations)
	if err = errors.Join(err, t.Close()); err != nil {
		return Layout{}, "", fmt.Errorf("keeping a result of output %q: %w", t.output, err)
	}
	return l, path, nil
}

func (t *Staging) keep(ctx context.Context, name string, index oci.Descriptor, annotations map[string]string) (Layout, string, error) {
	if filepath.Base(name) != name || t.isDone() {
		return Layout{}, "", fmt.Errorf("%q cannot be its name", name)
	}
	made := &madeLayout{at: time.Now()}
	folder, err := t.writeFiles(made, index, annotations)
	if err != nil {
		return Layout{}, "", err
	}
	l, blobs, err := t.check(ctx, folder)
	if err != nil {
		return Layout{}, "", err
	}
	if err := t.seal(made, blobs); err != nil {
		return Layout{}, "", err
	}
	if _, err := t.s.Folder(DiffersFolder, t.output); err != nil {
		return Layout{}, "", err
	}
	path := t.s.Dir(DiffersFolder, t.output, name)
	if err := t.s.discard(path); err != nil {
		return Layout{}, "", err
	}
	l.Output = t.output
	return l, path, os.Rename(t.layout(), path)
}

// DiffersFolder has a folder for each output of which [Staging.Keep] has kept results.
const DiffersFolder = "differs"

// DropKept removes all that Keep has kept of an output.
func (s *Store) DropKept(output string) error {
	if err := CheckName(output); err != nil {
		return err
	}
	return s.discardReplaced(s.Dir(DiffersFolder, output))
}
