package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

var _ buildkit.Managed = (*Engine)(nil)

// Status implements [buildkit.Managed].
func (e *Engine) Status(ctx context.Context) (*buildkit.Status, error) {
	s := &buildkit.Status{Kind: e.Kind(), Place: e.Dir, CacheSize: e.CacheSize}
	if _, err := os.Lstat(e.logPath()); err == nil {
		s.Log = e.logPath()
	}
	if err := e.running(ctx, s); err != nil {
		return nil, err
	}
	var err error
	if s.Usage, err = e.usage(ctx); err != nil {
		s.Unmeasured = err.Error()
	}
	return s, nil
}

// running fills in what a live engine tells, of whatever build of sx it is. One
// that came with a copied tree is not asked.
func (e *Engine) running(ctx context.Context, s *buildkit.Status) error {
	if !e.Store.Marked(e.Dir) {
		return nil
	}
	sockets, err := filepath.Glob(filepath.Join(globEscape(e.Dir), socketName("*")))
	if err != nil {
		return err
	}
	for _, socket := range sockets {
		id := strings.TrimSuffix(filepath.Base(socket), socketName(""))
		f, err := readFacts(e.Dir, id)
		if err != nil {
			continue
		}
		conn, err := e.dial(ctx, id)
		if err != nil {
			continue // its engine is dead
		}
		pid, err := peerPID(conn)
		conn.Close()
		if err != nil {
			return fmt.Errorf("asking for the engine's process: %w", err)
		}
		s.Running, s.PID, s.SX = true, pid, id
		s.Since, s.Clients, s.BuildKit = f.Since, readClients(e.Dir, id), f.BuildKit
		s.Runc, s.Snapshotter, s.Platforms = f.Runc, f.Snapshotter, f.Platforms
	}
	return nil
}

// globEscape makes a path mean itself in a pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// peerPID is the process that listens at the other end.
func peerPID(conn net.Conn) (pid int, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil {
		return 0, ctlErr
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// stopTime is how long an engine may take to end before it is killed.
const stopTime = 15 * time.Second

// busyTime is how long an engine may take to notice that a client left.
const busyTime = time.Second

// Stop implements [buildkit.Managed].
func (e *Engine) Stop(ctx context.Context, force bool) error {
	lock, err := e.stop(ctx, force)
	if lock != nil {
		lock.Close()
	}
	if errors.Is(err, errFollowed) {
		return nil
	}
	return err
}

// errFollowed says that the engine has ended, and that an sx which was building on it has
// started another already.
var errFollowed = errors.New("another sx, which builds on it, has started the engine again: wait for that one, or end it")

// stop ends the engine and returns the lock, nil where no engine ever ran here. It ends one
// engine and none that follows it: a build that goes on would lose each of them.
func (e *Engine) stop(ctx context.Context, force bool) (*os.File, error) {
	ending := 0 // the engine's process
	if _, err := os.Lstat(e.Dir + ".lock"); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for began := time.Now(); ; {
		s := &buildkit.Status{}
		if err := e.running(ctx, s); err != nil {
			return nil, err
		}
		switch {
		case s.Clients > 0 && !force && time.Since(began) < busyTime: // it may be leaving
		case s.Clients > 0 && !force:
			return nil, &buildkit.BusyError{Clients: s.Clients}
		case s.Running && ending != 0 && s.PID != ending:
			return nil, errFollowed
		case s.Running && time.Since(began) > stopTime:
			unix.Kill(s.PID, unix.SIGKILL)
		case s.Running:
			ending = s.PID
			unix.Kill(s.PID, unix.SIGTERM)
		}
		lock, err := tryLock(e.Dir + ".lock")
		if err != nil || lock != nil {
			return lock, err
		}
		if time.Since(began) > 2*stopTime {
			return nil, fmt.Errorf("the engine in %q does not end", e.Dir)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
}

// Clean implements [buildkit.Managed]. The lock's file stays: another sx may wait for it.
func (e *Engine) Clean(ctx context.Context, force bool) error {
	lock, err := e.stop(ctx, force)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	if err := e.removeAll(ctx, lock, "."); err != nil {
		return fmt.Errorf("removing the engine's folder: %w", err)
	}
	return nil
}

// Logs implements [buildkit.Managed]: of an engine that crashed, then of the last one.
func (e *Engine) Logs(_ context.Context, w io.Writer) error {
	for _, path := range []string{e.crashPath(), e.logPath()} {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
