package export

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// changer changes a folder at random, as a build can.
type changer struct {
	t *testing.T
	*rand.Rand
	names int
}

func newChanger(t *testing.T, seed uint64) *changer {
	return &changer{t, rand.New(rand.NewPCG(seed, 1)), 0}
}

// change makes, removes and alters some thirty entries below root.
func (c *changer) change(root string) {
	for range 30 {
		paths := c.paths(root)
		at := paths[c.IntN(len(paths))]
		dir := at
		if info, err := os.Lstat(at); err != nil || !info.IsDir() {
			dir = filepath.Dir(at)
		}
		if c.IntN(3) == 0 && at != root {
			c.alter(root, at)
		} else {
			c.add(dir, paths)
		}
	}
}

// paths are all below root, and root.
func (c *changer) paths(root string) (all []string) {
	must(c.t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	slices.Sort(all)
	return all
}

var names = []string{"n", "ünï\U0001f331", strings.Repeat("long-", 30), "sp ace", ".hidden", "\xff\xfe", "a\nb", "x=y"}

func (c *changer) add(dir string, paths []string) {
	c.names++
	name := filepath.Join(dir, fmt.Sprintf("%s%d", names[c.IntN(len(names))], c.names))
	switch c.IntN(10) {
	case 0, 1:
		must(c.t, os.Mkdir(name, 0o755))
	case 2:
		must(c.t, os.Symlink([]string{"../nowhere", "/etc/passwd", strings.Repeat("far/", 60), "."}[c.IntN(4)], name))
	case 3:
		if from := paths[c.IntN(len(paths))]; os.Link(from, name) != nil { // of a folder
			must(c.t, unix.Mkfifo(name, 0o600))
		}
	case 4:
		must(c.t, unix.Mknod(name, unix.S_IFCHR|0o620, int(unix.Mkdev(1, uint32(3+c.IntN(5))))))
	case 5:
		must(c.t, unix.Mknod(name, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(c.IntN(300))))))
	case 6:
		must(c.t, os.WriteFile(name, nil, 0o644))
		must(c.t, os.Truncate(name, int64(c.IntN(3<<20)))) // a hole
	default:
		must(c.t, os.WriteFile(name, noise(c.IntN(4)*c.IntN(5000)), 0o644))
	}
	c.adorn(name)
}

var times = []time.Time{time.Unix(0, 0), time.Unix(1, 0), time.Unix(1, 1), time.Unix(0, 999_999_999), time.Unix(-86400, 5), time.Unix(4102444800, 123)}

// adorn gives owners, modes, times and extended attributes.
func (c *changer) adorn(path string) {
	info, err := os.Lstat(path)
	must(c.t, err)
	must(c.t, os.Lchown(path, c.IntN(3)*70000, c.IntN(2)*4294967000))
	if info.Mode()&fs.ModeSymlink == 0 {
		must(c.t, unix.Chmod(path, []uint32{0o644, 0o755, 0o4711, 0o2750, 0o1777, 0}[c.IntN(6)]))
	}
	if info.Mode().IsRegular() || info.IsDir() {
		if c.IntN(4) == 0 {
			unix.Lsetxattr(path, "user.sx", []byte("v\x00\n="), 0) // where the filesystem has them
		}
		if c.IntN(6) == 0 {
			unix.Lsetxattr(path, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0)
		}
	}
	at := times[c.IntN(len(times))]
	must(c.t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}, unix.AT_SYMLINK_NOFOLLOW))
}

// alter removes, replaces, renames or adorns.
func (c *changer) alter(root, path string) {
	switch c.IntN(5) {
	case 0:
		must(c.t, os.RemoveAll(path))
	case 1: // a whiteout, or an opaque folder
		must(c.t, os.RemoveAll(path))
		must(c.t, os.Mkdir(path, 0o755))
		must(c.t, os.WriteFile(filepath.Join(path, "new"), []byte("new"), 0o644))
	case 2:
		c.names++
		if err := os.Rename(path, filepath.Join(root, fmt.Sprintf("moved%d", c.names))); err != nil && !strings.Contains(err.Error(), "cross-device") {
			c.t.Fatal(err) // overlayfs moves no folder of a layer below
		}
	default:
		c.adorn(path)
	}
}
