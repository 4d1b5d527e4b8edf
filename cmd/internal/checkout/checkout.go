package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/object"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/fetch/gitpack"
)

// Checkout is a tree of a commit on this machine.
type Checkout struct {
	Dir    string // of the tree
	Commit string // 40 hexadecimal digits
	Tag    string // the hash of the tag's object; "" without a tag, or for a tag that is only a name
	Tagger string // whom the tag's object names, and when: its claim
}

// The files of a commit's folder, which has the commit's hash as its name.
const (
	treeName = "tree"
	packExt  = ".pack" // behind the hash of the object that was asked for
)

// Open returns the checkout of s in dir, a folder of this user that it makes if necessary.
// For a tag the server is asked what it is now; the objects of a commit are fetched once.
// The error is an *Error if the server is the reason.
func Open(ctx context.Context, dir string, s Source, o gitpack.Options) (c Checkout, err error) {
	if err := ensure(dir); err != nil {
		return c, err
	}
	server := &server{source: s, options: o}
	want, commit := s.Commit, s.Commit
	if s.Tag != "" {
		tag, err := server.tag(ctx)
		if err != nil {
			return c, &Error{s, err}
		}
		want, commit = tag.Object, tag.Commit
	}
	home := filepath.Join(dir, commit)
	lock, err := disk.LockFile(home + ".lock")
	if err != nil {
		return c, fmt.Errorf("locking %q: %w", home, err)
	}
	defer lock.Close()
	if err := disk.EnsurePrivate(home); err != nil {
		return c, err
	}
	if err := clearDead(home); err != nil {
		return c, err
	}
	pack := filepath.Join(home, want+packExt)
	if _, err := os.Lstat(pack); errors.Is(err, fs.ErrNotExist) {
		if err := server.pack(ctx, want, pack); err != nil {
			return c, &Error{s, err}
		}
	}
	c = Checkout{Dir: filepath.Join(home, treeName), Commit: commit}
	return c, c.fill(ctx, s, want, pack)
}

// clearDead removes what a killed sx was writing in a commit's folder, which is locked.
func clearDead(home string) error {
	entries, err := os.ReadDir(home)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".sx-") {
			err = errors.Join(err, os.Remove(filepath.Join(home, e.Name())))
		}
	}
	return err
}

// ensure makes dir and the folders above it.
func ensure(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	return disk.EnsurePrivate(dir)
}

// fill makes the tree from a pack, unless it is there, and checks it.
func (c *Checkout) fill(ctx context.Context, s Source, want, pack string) error {
	objects, err := history.OpenReceived(pack)
	if err == nil {
		defer objects.Close()
		err = c.check(objects, want, s.Tag)
	}
	if err != nil { // it would be so the next time, too
		return errors.Join(&Error{s, err}, os.Remove(pack))
	}
	commit, _, err := objects.Commit(c.Commit)
	if err != nil {
		return &Error{s, err}
	}
	if _, err := os.Lstat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		if err := c.write(ctx, objects, commit); err != nil {
			return &Error{s, err}
		}
	}
	err = verify(ctx, objects, commit, c.Dir)
	if changed := (*changedError)(nil); errors.As(err, &changed) {
		return fmt.Errorf("the tree in %q is not that of the commit %.12s any more: %w; sx reproduce --repo %s --clean removes it", c.Dir, c.Commit, err, s)
	}
	if err != nil {
		return fmt.Errorf("checking the tree in %q: %w", c.Dir, err)
	}
	return nil
}

// check checks that the object that was asked for leads to the commit, and notes what the
// tag says. The object of a tag has its name in it: an older release cannot be shown under a
// newer one's.
func (c *Checkout) check(objects *history.Received, want, name string) error {
	commit, tag, err := objects.Commit(want)
	switch {
	case err != nil:
		return err
	case commit.Hash.String() != c.Commit:
		return fmt.Errorf("the server says that it leads to the commit %s, but its object leads to %s", c.Commit, commit.Hash)
	case tag == nil:
		return nil
	case want == c.Commit:
		return fmt.Errorf("%s is a tag's object, not a commit: name the tag, or the commit %s", want, commit.Hash)
	case name != "" && tag.Name != name:
		return fmt.Errorf("the server gives the tag %q in place of %q", tag.Name, name)
	}
	c.Tag, c.Tagger = want, fmt.Sprintf("%s, %s", tag.Tagger.Name, tag.Tagger.When.UTC().Format("2006-01-02"))
	return nil
}

// write writes the tree beside its place, and moves it there.
func (c *Checkout) write(ctx context.Context, objects *history.Received, commit *object.Commit) error {
	aside := c.Dir + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	if err := errors.Join(write(ctx, objects, commit, aside), syncAll(aside)); err != nil {
		return errors.Join(err, os.RemoveAll(aside))
	}
	if err := os.Rename(aside, c.Dir); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(c.Dir))
}

// Resolve returns the commit of s: for a tag, what the server says that it is now. The
// error is an *Error.
func Resolve(ctx context.Context, s Source, o gitpack.Options) (string, error) {
	if s.Tag == "" {
		return s.Commit, nil
	}
	tag, err := (&server{source: s, options: o}).tag(ctx)
	if err != nil {
		return "", &Error{s, err}
	}
	return tag.Commit, nil
}

// Path returns where in dir the tree of a commit is, if it is there.
func Path(dir, commit string) (path string, found bool) {
	path = filepath.Join(dir, commit, treeName)
	_, err := os.Lstat(path)
	return path, err == nil
}

// Remove removes the checkout of a commit in dir, and what sx keeps in it. It is no error if
// there is none.
func Remove(dir, commit string) error {
	home := filepath.Join(dir, commit)
	if _, err := os.Lstat(home); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := disk.LockFile(home + ".lock")
	if err != nil {
		return fmt.Errorf("locking %q: %w", home, err)
	}
	defer lock.Close()
	return errors.Join(os.RemoveAll(home), os.Remove(home+".lock"))
}
