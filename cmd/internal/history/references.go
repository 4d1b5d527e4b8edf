package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// references reads references and the list of shallow commits with go-git. Of its storage nothing else is used.
type references struct {
	*filesystem.Storage
	fs billy.Filesystem
}

func newReferences(fs billy.Filesystem) references {
	return references{filesystem.NewStorage(fs, nil), fs}
}

// Reference refuses a file that holds no reference, which go-git takes for the hash 0.
func (r references) Reference(name plumbing.ReferenceName) (*plumbing.Reference, error) {
	if err := r.check(string(name)); err != nil {
		return nil, err
	}
	ref, err := r.Storage.Reference(name)
	if err == nil && ref.Type() == plumbing.HashReference && ref.Hash().IsZero() {
		err = fmt.Errorf("packed-refs gives %q no commit", name)
	}
	return ref, err
}

// check reads the file of a reference. If there is none, the reference may be in packed-refs.
func (r references) check(name string) error {
	if info, err := r.fs.Stat(name); err == nil && info.IsDir() && name != "HEAD" {
		return nil // of branches whose names begin so
	}
	f, err := r.fs.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil
	case err != nil:
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(data))
	if target, ok := strings.CutPrefix(text, "ref: "); !plumbing.IsHash(text) && (!ok || target == "") {
		return fmt.Errorf("the file %s of the git folder holds %.60q, but must hold a commit's 40 hex digits or ref: and a branch's full name, as in \"ref: refs/heads/main\"", name, text)
	}
	return nil
}
