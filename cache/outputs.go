package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Layout is what out/<output> holds, see [layout.Layout].
type Layout = layout.Layout

// CheckName returns an error unless output can be the name of a folder in out/.
func CheckName(output string) error {
	valid := len(output) > 0 && len(output) <= 200 && isAlphanumeric(output[0])
	for i := range len(output) {
		valid = valid && (isAlphanumeric(output[i]) || strings.IndexByte("._+-", output[i]) >= 0)
	}
	if !valid {
		return fmt.Errorf("naming output %.100q: want lower-case letters, digits and . _ + - after the first", output)
	}
	return nil
}

func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// outputs are the layouts in out/, read in part or whole.
type outputs struct {
	*blobs
	layouts *memo.Memo // what is remembered of them; nil if Options.Build is empty
	now     func() time.Time
	imports sync.Map // see imported: output → *known
}

// Read reads what out/<output> claims to hold: the documents, each checked against the
// digest that names it, but neither layers nor configs, for which there is Check. Without a
// layout the error is fs.ErrNotExist; if only part of one is missing it never is.
func (s *outputs) Read(output string) (Layout, error) {
	if l, ok := s.peekLayout(output); ok {
		l.Stray = nil
		return l, nil
	}
	return s.withReader(output, (*layout.Reader).Contents)
}

// Present is Read, and checks that every blob is there with its size. Only blobs that
// were once found damaged are read.
func (s *outputs) Present(output string) (Layout, error) {
	return s.withReader(output, func(r *layout.Reader) (layout.Contents, error) {
		return r.CheckPresent(context.Background())
	})
}

// Check is Read, and checks that every blob is there with the bytes that its digest
// names. It looks for [layout.Layout.Stray] too. Blobs that the stat cache knows are not read.
func (s *outputs) Check(output string) (Layout, error) {
	l, _, err := s.CheckTime(output)
	return l, err
}

// CheckTime is Check, and returns the mtime of index.json, which is all that make looks at.
func (s *outputs) CheckTime(output string) (Layout, time.Time, error) {
	if l, at, ok := s.knownLayout(output); ok {
		return l, at, nil
	}
	var at disk.Stamp
	remember := observe(s.layouts, outName(output))
	l, err := s.withReader(output, func(r *layout.Reader) (layout.Contents, error) {
		c, err := r.Check(context.Background(), true)
		if err == nil {
			c.Stray, err = r.Strays(c)
		}
		if err == nil {
			folder, _ := r.Folder()
			at, err = folder.Stat(layout.IndexName)
		}
		return c, err
	})
	if err == nil {
		remember(packLayout(l))
	}
	return l, time.Unix(0, at.Mtime), err
}

// Verify is Check, but reads and hashes every blob, and compares the images' configs with
// the platforms that the index gives. If the result differs from what is remembered, that
// is forgotten for good.
func (s *outputs) Verify(ctx context.Context, output string) (Layout, error) {
	known, remembered := s.peekLayout(output)
	l, err := s.verify(ctx, output)
	if remembered && ctx.Err() == nil && (err != nil || packLayout(known) != packLayout(l)) {
		s.layouts.Forget(outName(output))
		for _, name := range []string{layout.IndexName, layout.VersionName} {
			if st, err := disk.StatPath(filepath.Join(s.Out(output), name)); err == nil {
				s.stats.Damage(st.Inode)
			}
		}
	}
	return l, err
}

func (s *outputs) verify(ctx context.Context, output string) (Layout, error) {
	return s.withReader(output, func(r *layout.Reader) (layout.Contents, error) {
		c, err := r.Check(ctx, false)
		if err == nil {
			err = r.CheckPlatforms(c)
		}
		if err == nil {
			c.Stray, err = r.Strays(c)
		}
		return c, err
	})
}

func (s *outputs) withReader(output string, do func(*layout.Reader) (layout.Contents, error)) (Layout, error) {
	r, err := s.openLayout(output)
	if err != nil {
		return Layout{}, fmt.Errorf("reading output %q: %w", output, err)
	}
	defer r.Close()
	c, err := do(r)
	if err != nil {
		return Layout{}, fmt.Errorf("reading output %q: %w", output, layout.Broken(err))
	}
	c.Output = output
	return c.Layout, nil
}

// openLayout fails with fs.ErrNotExist if there is no folder, or no index.json in it.
func (s *outputs) openLayout(output string) (*layout.Reader, error) {
	if err := CheckName(output); err != nil {
		return nil, err
	}
	out, err := disk.OpenDir(s.Out(""))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	folder, err := out.Sub(output)
	if err != nil {
		return nil, err
	}
	return layout.Open(folder, s.stats)
}

// knownLayout is CheckTime for a layout that was whole before and has not changed since.
func (s *outputs) knownLayout(output string) (l Layout, at time.Time, ok bool) {
	if s.layouts == nil || CheckName(output) != nil {
		return Layout{}, at, false
	}
	value, ok := s.layouts.Get(outName(output), func(i memo.Item) {
		if i.Path == layout.IndexName {
			at = i.ModTime()
		}
	})
	if !ok {
		return Layout{}, at, false
	}
	l, ok = s.unpackLayout(output, value)
	return l, at, ok
}

// peekLayout returns what knownLayout would, if that needs no file to be read.
func (s *outputs) peekLayout(output string) (Layout, bool) {
	if s.layouts == nil || CheckName(output) != nil {
		return Layout{}, false
	}
	value, ok := s.layouts.Peek(outName(output))
	if !ok {
		return Layout{}, false
	}
	return s.unpackLayout(output, value)
}

func (s *outputs) unpackLayout(output, value string) (Layout, bool) {
	u := unpackerOf(value)
	l := u.layout()
	if !u.Done() || l.Output != output {
		s.layouts.Forget(outName(output))
		return Layout{}, false
	}
	return l, true
}

// outName is the path of an output's folder in the memo of layouts.
func outName(output string) string { return "out/" + output }

// Remembered names the outputs whose layouts were whole when sx last looked, in no order.
func (s *outputs) Remembered() (outputs []string) {
	if s.layouts == nil {
		return nil
	}
	for _, path := range s.layouts.Paths() {
		outputs = append(outputs, strings.TrimPrefix(path, outName("")))
	}
	return outputs
}

// Held lists, for each blob that a folder in out/ has a file for, the outputs of those
// folders, sorted. It reads names only; Import finds out what the files hold.
func (s *outputs) Held() (map[oci.Digest][]string, error) {
	held := map[oci.Digest][]string{}
	out, err := disk.OpenDir(s.Out(""))
	if errors.Is(err, fs.ErrNotExist) {
		return held, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	defer out.Close()
	entries, err := out.F.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	for _, e := range entries {
		if CheckName(e.Name()) == nil {
			addHeld(out, held, e.Name())
		}
	}
	for _, outputs := range held {
		slices.Sort(outputs)
	}
	return held, nil
}

// addHeld ignores a folder that is not a layout.
func addHeld(d disk.Dir, held map[oci.Digest][]string, output string) {
	blobs, err := d.Sub(output, "blobs", "sha256")
	if err != nil {
		return
	}
	defer blobs.Close()
	entries, _ := blobs.F.ReadDir(-1)
	for _, e := range entries {
		if digest, err := oci.ParseHexDigest(e.Name()); err == nil {
			held[digest] = append(held[digest], output)
		}
	}
}

// Touch sets the mtime of the outputs' index.json, which is all that make looks at. No
// blob is touched. An index.json with several hard links is first replaced by a copy, so
// that the others keep their time.
//
// Source: upstream's src/targets.py.
func (s *outputs) Touch(outputs []string, t time.Time) error {
	var errs []error
	disk.InOrder(len(outputs), func(i int) error {
		return s.touch(outputs[i], t)
	}, func(i int, err error) bool {
		if err != nil {
			errs = append(errs, fmt.Errorf("touching output %q: %w", outputs[i], err))
		}
		return true
	})
	return errors.Join(errs...)
}

func (s *outputs) touch(output string, t time.Time) error {
	if err := CheckName(output); err != nil {
		return err
	}
	out, err := disk.OpenDir(s.Out(""))
	if err != nil {
		return err
	}
	defer out.Close()
	folder, err := out.Sub(output)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := s.unshareIndex(folder); err != nil {
		return err
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	times := []unix.Timespec{ts, ts} // access, modification
	return unix.UtimesNanoAt(int(folder.F.Fd()), layout.IndexName, times, unix.AT_SYMLINK_NOFOLLOW)
}

// unshareIndex replaces an index.json that has several hard links by a copy.
func (s *outputs) unshareIndex(folder disk.Dir) error {
	st, err := folder.Stat(layout.IndexName)
	switch {
	case err != nil:
		return err
	case !st.Regular:
		return fmt.Errorf("opening %q: not a regular file", filepath.Join(folder.Path, layout.IndexName))
	case st.Nlink == 1:
		return nil
	}
	index, err := folder.Read(layout.IndexName, oci.MaxDocument)
	if err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(folder.Path, layout.IndexName), index, 0o644, s.Dir("tmp"))
}
