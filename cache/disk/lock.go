package disk

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A temporary file or folder in .sx/tmp is locked by a flock on itself as long as its
// process lives. If the lock is free the process is dead, and another that starts removes
// the temporary.

// TryClaim locks a file or folder that was just made at path. It reports false if another
// process considered it abandoned before it was locked: the caller makes a new one.
func TryClaim(f *os.File, path string) bool {
	return Flock(f, unix.LOCK_EX|unix.LOCK_NB) == nil && isAt(f, path)
}

// Flock is flock(2), and tries again after a signal.
func Flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// OpenOrCreate opens a file for reading and writing, and makes it, mode 0600, if missing.
// It follows no link and waits for no pipe.
func OpenOrCreate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, folderInTheWay(path, err)
	}
	return f, nil
}

// LockFile waits for an exclusive lock on a file, which it makes if missing. Closing the
// file releases the lock.
func LockFile(path string) (*os.File, error) { return lockFile(path, unix.LOCK_EX) }

// LockFileShared is LockFile with a shared lock.
func LockFileShared(path string) (*os.File, error) { return lockFile(path, unix.LOCK_SH) }

func lockFile(path string, how int) (*os.File, error) {
	for {
		f, err := OpenOrCreate(path)
		if err != nil {
			return nil, err
		}
		if err := Flock(f, how); err != nil {
			f.Close()
			return nil, err
		}
		if isAt(f, path) {
			return f, nil
		}
		f.Close() // it was removed meanwhile: a lock on it excludes no other process
	}
}

// isAt reports whether f is the file or folder that path names.
func isAt(f *os.File, path string) bool {
	a, err := StatFile(f)
	if err != nil {
		return false
	}
	b, err := StatPath(path)
	return err == nil && a.Inode == b.Inode
}

// ClaimDir makes a folder of mode 0700 with a random name in parent and locks it.
func ClaimDir(parent, prefix string) (string, *os.File, error) {
	for {
		path := filepath.Join(parent, prefix+"."+rand.Text())
		if err := os.Mkdir(path, 0o700); err != nil {
			return "", nil, err
		}
		f, err := OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err == nil && TryClaim(f, path) {
			return path, f, nil
		}
		if err == nil {
			f.Close()
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", nil, err
		}
	}
}
