package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
)

// own makes sure that the engine begins with nothing but what an engine of this
// user left in this very folder. It is called under the lock.
func (e *Embedded) own() error {
	if e.Store.Owned(e.Dir) {
		return nil
	}
	if err := os.RemoveAll(e.Dir); err != nil {
		return fmt.Errorf("removing an engine's folder that was not made here: %w", err)
	}
	if err := os.Mkdir(e.Dir, 0o700); err != nil {
		return fmt.Errorf("making the engine's folder: %w", err)
	}
	return e.Store.Own(e.Dir)
}

// childConfig travels from sx to its child through a pipe.
type childConfig struct {
	Dir, ID, Runc, Snapshotter string
	CacheSize                  int64
}

// start runs the child and returns once it listens. The child keeps lock.
func (e *Embedded) start(ctx context.Context, id string, lock *os.File) error {
	runc, err := e.fitness()
	if err != nil {
		return err
	}
	if err := e.own(); err != nil {
		return err
	}
	cfg := childConfig{Dir: e.Dir, ID: id, Runc: runc, Snapshotter: e.Snapshotter, CacheSize: e.CacheSize}
	blob, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	err = e.spawn(ctx, string(blob), lock)
	if errors.Is(err, errDied) { // of a damaged state, perhaps: then spawn begins anew
		err = e.spawn(ctx, string(blob), lock)
	}
	return err
}

var errDied = errors.New("it died")

func (e *Embedded) spawn(ctx context.Context, config string, lock *os.File) error {
	if err := e.forgetCrash(); err != nil {
		return fmt.Errorf("clearing a crashed engine's state: %w", err)
	}
	logFile, err := os.OpenFile(e.logPath(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	ready, readyW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()

	cmd := exec.Command(e.executable(), ChildArg, config)
	cmd.Args[0] = "sx"
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + binDir, "TMPDIR=" + tempDir, "HOME=/", "TZ=UTC"}
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{lock, readyW} // fds 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // a terminal's Ctrl-C is for sx, not for the engine
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
	}
	if err := cmd.Start(); err != nil {
		readyW.Close()
		return fmt.Errorf("starting the engine: %w", err)
	}
	readyW.Close()
	go cmd.Wait() // reaps the child; its life is told by the connection
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	answer, err := io.ReadAll(ready)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("waiting for the engine: %w", err)
	case string(answer) == readyWord:
		return nil
	case len(answer) == 0:
		return fmt.Errorf("starting the engine: %w; see %q", errDied, logFile.Name())
	}
	var unfit UnfitError
	if json.Unmarshal(answer, &unfit) == nil && unfit.Problem != "" {
		return &unfit
	}
	return fmt.Errorf("starting the engine: %s", answer)
}

func (e *Embedded) logPath() string { return filepath.Join(e.Dir, "engine.log") }

// forgetCrash clears the state of an engine that ended by crashing. BuildKit's
// database crashes on a damaged file, at its start or later; no kill does that.
// What is lost is a cache. The log is kept as engine.crash.log.
func (e *Embedded) forgetCrash() error {
	log, err := os.ReadFile(e.logPath())
	if err != nil || !goCrash.Match(log) {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(e.Dir, "state")); err != nil {
		return err
	}
	return os.Rename(e.logPath(), filepath.Join(e.Dir, "engine.crash.log"))
}

// goCrash is how the Go runtime's last words begin.
var goCrash = regexp.MustCompile(`(?m)^(panic|fatal error): `)
