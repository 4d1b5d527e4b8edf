package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/moby/sys/userns"
	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// The databases of an engine's state, named as buildkitd names them.
const (
	cacheDB   = "cache.db"          // results by their inputs
	contentDB = "containerdmeta.db" // blobs, snapshots, leases
	historyDB = "history.db"
	refsDB    = "metadata_v2.db" // the cache's data about snapshots
)

// Options are the options of [Open].
type Options struct {
	Dir          string // the engine's folder; the state is in its folder "state"
	Snapshotter  string // "overlayfs", "native", or "" or "auto" for the first that works
	Maps         string // names the ids of the engine's user namespace, "" without one
	CacheSize    int64  // bytes that the cache may have; 0 means 50 GiB
	StandardGzip bool   // compress layers with compress/gzip instead of package gogzip
	Runc         string // program in PATH that runs containers, "" for "runc"
	Hostname     string // of every RUN, "" for the one that BuildKit gives
}

// snapshotter is a way to stack layers.
type snapshotter struct {
	name string
	open func(root string) (snapshots.Snapshotter, error)
}

// Open opens the state in a folder, and drops it if it is damaged: it is a cache. It
// assembles BuildKit as sx needs it: no import or export of caches, whose results were
// not built here, no registry, the host's network or none, and no build history.
func Open(o Options) (*Worker, error) {
	stack, err := chooseSnapshotter(o)
	if err != nil {
		return nil, err
	}
	root, err := stateRoot(filepath.Join(o.Dir, "state", stateName(stack.name, o.Maps)))
	if err != nil {
		return nil, err
	}
	ClearCgroups(root)
	w, err := openState(root, stack, o)
	if err == nil {
		return w, nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EMFILE) {
		return nil, err // the state is not damaged
	}
	logrus.Errorf("starting over with an empty engine: %v", err)
	if err := removeState(root); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	return openState(root, stack, o)
}

// States returns the folders of all states in an engine's folder.
func States(dir string) []string {
	found, _ := fs.Glob(os.DirFS(dir), "state/*/*") // no error: the pattern is valid
	for i, name := range found {
		found[i] = filepath.Join(dir, filepath.FromSlash(name))
	}
	return found
}

// stateName returns the name of the folder for the state of a snapshotter. A namespace
// with other ids has a folder of its own: in it the files would have other owners, and so
// other bytes.
func stateName(snapshotter, maps string) string {
	if maps == "" {
		return snapshotter
	}
	return snapshotter + "-" + maps
}

// stateRoot returns the one folder in dir, or makes it with a unique name. If sx's whole
// folder is removed under a live engine, that engine removes unknown snapshots by their
// paths for some seconds, which must not be paths of the next engine.
func stateRoot(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) == 1 && entries[0].IsDir() {
		return filepath.Join(dir, entries[0].Name()), nil
	}
	for _, e := range entries {
		if err := removeState(filepath.Join(dir, e.Name())); err != nil {
			return "", err
		}
	}
	root := filepath.Join(dir, strings.ToLower(rand.Text()[:8]))
	return root, os.Mkdir(root, 0o700)
}

// removeState removes a state. Its mark goes first: if the removal is cut short, the
// rest does not pass for a state.
func removeState(root string) error {
	if err := unmark(root); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("clearing %q: %w", root, err)
	}
	return nil
}

// openState opens the state in root. A damaged one is an error.
func openState(root string, stack snapshotter, o Options) (w *Worker, err error) {
	w = &Worker{Root: root, ContentDir: filepath.Join(root, "content", "blobs", "sha256")}
	defer func() {
		if p := recover(); p != nil { // bbolt panics if a file is damaged
			err = fmt.Errorf("opening the engine's state: %v", p)
		}
		if err != nil {
			w.Close()
			w = nil
		}
	}()
	if err := sameBoot(root); err != nil {
		return w, err
	}
	if err := oneAge(root); err != nil {
		return w, err
	}
	if err := sameOwners(root); err != nil {
		return w, err
	}
	opt, err := w.options(root, stack, o)
	if err != nil {
		return w, err
	}
	if err := w.control(root, opt); err != nil {
		return w, err
	}
	w.closers = append(w.closers, func() error { ClearCgroups(root); return nil })
	// BuildKit replaces some damaged files by empty ones, which do not fit the rest of
	// the state.
	if set, _ := filepath.Glob(filepath.Join(root, "*.bak")); len(set) > 0 {
		return w, fmt.Errorf("BuildKit gave up %q", set)
	}
	return w, nil
}

// oneAge refuses a state of which only some databases exist: they refer to each other,
// and bbolt takes an empty file for a new one.
func oneAge(root string) error {
	var here, gone []string
	for _, name := range []string{cacheDB, contentDB, historyDB, refsDB} {
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.Size() > 0 {
			here = append(here, name)
		} else {
			gone = append(gone, name)
		}
	}
	if len(here) > 0 && len(gone) > 0 {
		return fmt.Errorf("%q are there, %q are not", here, gone)
	}
	return nil
}

// sameOwners refuses a state in a user namespace if the owners of its files were changed,
// as by `chown -R` or another namespace: its snapshots would have other bytes. It checks
// a file that belongs to id 1 from the beginning.
func sameOwners(root string) error {
	if !userns.RunningInUserNS() {
		return nil
	}
	witness := filepath.Join(root, "witness")
	var st unix.Stat_t
	err := unix.Lstat(witness, &st)
	switch {
	case err == nil && st.Uid == 1 && st.Gid == 1:
		return nil
	case err == nil:
		return fmt.Errorf("owners were changed: %q belongs to %d:%d, not to 1:1", witness, st.Uid, st.Gid)
	case !errors.Is(err, unix.ENOENT):
		return err
	}
	if _, err := os.Stat(filepath.Join(root, contentDB)); err == nil {
		return fmt.Errorf("owners may have been changed: there is no %q", witness)
	}
	if err := os.WriteFile(witness, nil, 0o600); err != nil {
		return err
	}
	return os.Lchown(witness, 1, 1)
}

// newOverlay returns containerd's snapshotter, with a database that is never synced.
func newOverlay(root string) (snapshots.Snapshotter, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	db, err := storage.NewMetaStore(filepath.Join(root, "metadata.db"), func(o *bolt.Options) error {
		o.NoSync, o.NoGrowSync = true, true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return overlay.NewSnapshotter(root, overlay.AsynchronousRemove, overlay.WithMetaStore(db))
}

// chooseSnapshotter returns overlayfs if it works. On an overlay filesystem, where it does
// not, it returns the native snapshotter, which copies and gives the same bytes.
func chooseSnapshotter(o Options) (snapshotter, error) {
	name := o.Snapshotter
	if name == "" || name == "auto" {
		name = "overlayfs"
		if overlayutils.Supported(o.Dir) != nil {
			name = "native"
		}
	}
	switch name {
	case "overlayfs":
		return snapshotter{name, newOverlay}, nil
	case "native":
		return snapshotter{name, native.NewSnapshotter}, nil
	}
	return snapshotter{}, &buildkit.UnfitError{
		Problem: fmt.Sprintf("the snapshotter %q is unknown", name),
		Remedy:  `set engine.snapshotter to "auto", "overlayfs" or "native"`,
	}
}
