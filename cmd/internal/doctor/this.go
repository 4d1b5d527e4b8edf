package doctor

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// This returns what is known of this machine without any of sx's settings.
func This() Machine {
	return Machine{
		System: system(), Root: os.Geteuid() == 0, Files: os.DirFS("/"), Getenv: os.Getenv, Now: time.Now, Built: built(),
		Free: free, Link: links, Dial: dial,
	}
}

func system() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown: " + err.Error()
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + ", " + unix.ByteSliceToString(u.Machine[:])
}

// built returns the time of the commit that this program was built from, zero if unknown.
func built() (at time.Time) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return at
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			at, _ = time.Parse(time.RFC3339, s.Value)
		}
	}
	return at
}

// existing returns the folder nearest to path, or above it, that exists.
func existing(path string) string {
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func free(folder string) (Free, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(existing(folder), &st); err != nil {
		return Free{}, err
	}
	f := Free{Bytes: int64(st.Bavail) * int64(st.Bsize), Files: -1}
	if st.Files > 0 { // btrfs does not count them
		f.Files = int64(st.Ffree)
	}
	return f, nil
}

// links tries what the filesystem of folder can do, in a folder that it removes.
func links(folder string) (l Links, err error) {
	dir, err := os.MkdirTemp(existing(folder), ".sx-doctor-")
	if err != nil {
		return l, err
	}
	defer os.RemoveAll(dir)
	name := func(n string) string { return filepath.Join(dir, n) }
	if err := os.WriteFile(name("file"), []byte("sx doctor\n"), 0o600); err != nil {
		return l, err
	}
	l.Hard = os.Link(name("file"), name("link")) == nil
	for _, n := range []string{"a", "b"} {
		if err := os.Mkdir(name(n), 0o700); err != nil {
			return l, err
		}
	}
	l.Exchange = disk.Exchange(name("a"), name("b")) == nil
	return l, nil
}

func dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return conn.Close()
}
