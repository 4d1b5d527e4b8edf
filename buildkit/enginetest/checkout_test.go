package enginetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const checkout = `
-- packages/core/a/Containerfile --
FROM scratch AS build
COPY tool /
COPY . /ctx/
RUN --network=none ["/tool", "list", "/ctx", "/seen"]

FROM scratch
COPY --from=fetch . /src/
COPY . /ctx/
COPY --link more/ /linked/
COPY --from=build /seen /
-- packages/core/a/one --
of equal bytes
-- packages/core/a/more/two --
of equal bytes
-- packages/core/b/package.toml --
[package]
name = "b"
-- packages/core/b/Containerfile --
FROM stagex/core-a
COPY --from=stagex/core-a /ctx/ /again/
COPY . /b/
`

// vary replaces files, folders and links of a checkout by what another checkout may
// have.
type vary func(path string, e fs.DirEntry) error

// checkouts are the differences that no key covers.
var checkouts = map[string][]vary{
	"times that BuildKit does not rewrite": {beforeEpoch},
	"times of its own": {dated(unix.Timespec{Sec: 1}, unix.Timespec{Sec: 1, Nsec: 1}, unix.Timespec{Sec: 1 << 32, Nsec: 5},
		unix.Timespec{Sec: 10_000_000_000})}, // no int64 holds this as nanoseconds
	"umask 077, hard links, extended attributes": {modes(0o600, 0o700), hardLinks, attributes},
	"umask 0, set-uid and sticky bits, owners": {
		owned, modes(0o666|unix.S_ISUID|unix.S_ISGID, 0o777|unix.S_ISGID|unix.S_ISVTX)},
}

// beforeEpoch dates everything before SOURCE_DATE_EPOCH=1.
var beforeEpoch = dated(unix.Timespec{Sec: -5, Nsec: 999_999_999}, unix.Timespec{}, unix.Timespec{Nsec: 999_999_999})

// vary changes everything in a part of the tree.
func (t *Tree) vary(part string, how ...vary) {
	t.t.Helper()
	for _, vary := range how {
		t.must(filepath.WalkDir(t.Path(part), func(path string, e fs.DirEntry, err error) error {
			return errors.Join(err, vary(path, e))
		}))
	}
}

// dated gives everything, symbolic links too, one of some times.
func dated(times ...unix.Timespec) vary {
	n := 0
	return func(path string, _ fs.DirEntry) error {
		n++
		at := times[n%len(times)]
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}
}

func owned(path string, _ fs.DirEntry) error { return os.Lchown(path, 1234, 5678) }

func attributes(path string, e fs.DirEntry) error {
	err := unix.Lsetxattr(path, "trusted.sx", []byte("1"), 0)
	if err == nil && e.Type() != fs.ModeSymlink {
		err = unix.Lsetxattr(path, "user.sx", []byte("1"), 0)
	}
	return err
}

// hardLinks replaces two files with equal bytes by one with two names.
func hardLinks(path string, _ fs.DirEntry) error {
	for name, other := range map[string]string{"/more/two": "/one", "/second.txt": "/first.txt"} {
		if dir, ok := strings.CutSuffix(path, name); ok {
			return errors.Join(os.Remove(path), os.Link(dir+other, path))
		}
	}
	return nil
}

// modes sets modes with chmod(2). Files stay executable for their owner or not.
func modes(file, dir uint32) vary {
	return func(path string, e fs.DirEntry) error {
		info, err := e.Info()
		switch {
		case err != nil || e.Type() == fs.ModeSymlink:
			return err
		case e.IsDir():
			return unix.Chmod(path, dir)
		case info.Mode()&0o100 != 0:
			return unix.Chmod(path, file|0o100)
		}
		return unix.Chmod(path, file)
	}
}

// Two checkouts of one tree give the same bytes, whatever the times, owners and
// storage of their files: keys do not cover these.
func TestCheckout(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", checkout)
	manifest := "[package]\nname = \"a\"\n"
	for _, name := range []string{"first.txt", "second.txt"} {
		manifest += tree.Source("core/a", name, []byte("source\n"))
	}
	tree.Write("packages/core/a/package.toml", []byte(manifest))
	tree.mkdir("packages/core/a/empty")
	tree.must(os.Symlink("one", tree.Path("packages/core/a/link")))
	tree.Sx("build", "--all")
	tree.Sx("digests", "--all", "--write")
	whole := tree.Path("../whole")
	for _, part := range []string{"packages", "fetch"} {
		tree.must(copyTree(tree.Path(part), filepath.Join(whole, part)))
	}
	for name, varied := range checkouts {
		for _, part := range []string{"packages", "fetch"} {
			tree.must(copyTree(filepath.Join(whole, part), tree.Path(part)))
			tree.vary(part, varied...)
		}
		tree.Sx("engine", "clean") // no step is taken from its cache
		r := tree.Start("build", "--all", "--no-cache")
		if code := r.Wait(); code != 0 || !strings.Contains(r.Stdout.String(), "2 outputs: 2 MATCH") {
			t.Errorf("%s: exit code %d, want two MATCH\n%s%s", name, code, &r.Stdout, &r.Stderr)
		}
	}
}
