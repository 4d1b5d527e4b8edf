package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
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
	cacheDB   = "cache.db"          // results by what they were made of
	contentDB = "containerdmeta.db" // blobs, snapshots, leases
	historyDB = "history.db"
	refsDB    = "metadata_v2.db" // what the cache holds of snapshots
)

// newWorker assembles BuildKit as sx needs it: no cache importer or exporter
// (results nobody here built), no registry, the host's network or none, and no
// build history.
func newWorker(cfg childConfig) (*engineWorker, error) {
	name, newSnapshotter, err := chooseSnapshotter(cfg)
	if err != nil {
		return nil, err
	}
	root, err := stateRoot(filepath.Join(cfg.Dir, "state", stateName(name, cfg.Maps)))
	if err != nil {
		return nil, err
	}
	clearCgroups(cgroupOf(root))
	w, err := openWorker(root, name, newSnapshotter, cfg)
	if err == nil {
		return w, nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EMFILE) {
		return nil, err // passes, and damaged nothing
	}
	// All of it is a cache: a crash that damaged it must not need a person.
	logrus.Errorf("starting over with an empty engine: %v", err)
	if err := removeState(root); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	return openWorker(root, name, newSnapshotter, cfg)
}

// stateName is that of the folder for the state of a snapshotter. Files written
// under other ids would have other owners in the engine's eyes, and so other bytes.
func stateName(snapshotter, maps string) string {
	if maps == "" {
		return snapshotter
	}
	return snapshotter + "-" + maps
}

// stateRoot is the one folder in dir, made with a name that no other has. Whoever
// removes all of sx's folder under a live engine leaves that a few seconds in which
// it clears snapshots that it does not know: by their paths, which must not be
// those of the next engine.
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

func removeState(root string) error {
	if err := unmark(globEscape(root)); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("clearing %q: %w", root, err)
	}
	return nil
}

// openWorker opens the state in root. A damaged one is an error.
func openWorker(root, name string, newSnapshotter func(string) (snapshots.Snapshotter, error), cfg childConfig) (w *engineWorker, err error) {
	w = &engineWorker{root: root, contentDir: filepath.Join(root, "content", "blobs", "sha256")}
	defer func() {
		if p := recover(); p != nil { // bbolt's way to say that a file is damaged
			err = fmt.Errorf("opening the engine's state: %v", p)
		}
		if err != nil {
			w.close()
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
	opt, err := w.options(root, name, newSnapshotter, cfg)
	if err != nil {
		return w, err
	}
	if err := w.control(root, opt); err != nil {
		return w, err
	}
	w.closers = append(w.closers, func() error { clearCgroups(cgroupOf(root)); return nil })
	// BuildKit replaces some damaged files by empty ones, which the rest of
	// the state does not know of.
	if set, _ := filepath.Glob(filepath.Join(root, "*.bak")); len(set) > 0 {
		return w, fmt.Errorf("BuildKit gave up %q", set)
	}
	return w, nil
}

// oneAge refuses a state in which some databases are there and others are not:
// they refer to each other, and bbolt takes an empty file for a new one.
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

// sameOwners refuses a state in a user namespace whose owners somebody changed
// since, as `chown -R` or another namespace does: its snapshots would have other
// bytes. A file that belongs to id 1 from the first on bears witness.
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

// newOverlay is containerd's, with a database whose writes are left to the kernel.
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

// chooseSnapshotter takes overlayfs where it works; on an overlay filesystem,
// where it does not, the native snapshotter gives the same bytes by copying.
func chooseSnapshotter(cfg childConfig) (string, func(string) (snapshots.Snapshotter, error), error) {
	name := cfg.Snapshotter
	if name == "" || name == "auto" {
		name = "overlayfs"
		if overlayutils.Supported(cfg.Dir) != nil {
			name = "native"
		}
	}
	switch name {
	case "overlayfs":
		return name, newOverlay, nil
	case "native":
		return name, native.NewSnapshotter, nil
	}
	return "", nil, &buildkit.UnfitError{
		Problem: fmt.Sprintf("the snapshotter %q is unknown", name),
		Remedy:  `set engine.snapshotter to "auto", "overlayfs" or "native"`,
	}
}
