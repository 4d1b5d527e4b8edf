package fetch

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"golang.org/x/sys/unix"
)

// lockEvery is how often a lock that another sx holds is tried again.
const lockEvery = 100 * time.Millisecond

// lock opens and locks p's file. It leaves f nil where the name meant something
// else meanwhile: then it is to be called again.
func (p *part) lock(ctx context.Context, waiting func()) error {
	if info, err := p.temp.dir.Lstat(p.name); err == nil && !usable(info) {
		return p.temp.dir.RemoveAll(p.name)
	}
	f, err := p.temp.dir.OpenFile(p.name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	if err := flock(ctx, f, waiting); err != nil {
		f.Close()
		return err
	}
	// Who held the lock may have given the file its final name.
	if info, err := f.Stat(); err != nil || !usable(info) || !p.temp.holds(f, p.name) {
		return errors.Join(err, f.Close())
	}
	p.f = f
	return nil
}

// usable is a plain file with one name: what is written here must not show
// under another.
func usable(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().IsRegular() && (!ok || st.Nlink <= 1)
}

func flock(ctx context.Context, f *os.File, waiting func()) error {
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if !told {
			waiting()
		}
		if err := transfer.Pause(ctx, lockEvery); err != nil {
			return err
		}
	}
}
