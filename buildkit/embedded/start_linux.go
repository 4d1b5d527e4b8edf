package embedded

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
	"strings"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/buildkit"
)

// own makes sure that the engine begins with nothing but what an engine of this
// user left in this very folder. It is called under the lock.
func (e *Engine) own(ctx context.Context, lock *os.File) error {
	if e.Store.Marked(e.Dir) {
		return nil
	}
	if err := e.removeAll(ctx, lock, "."); err != nil {
		return fmt.Errorf("removing an engine's folder that was not made here: %w", err)
	}
	if err := os.Mkdir(e.Dir, 0o700); err != nil {
		return fmt.Errorf("making the engine's folder: %w", err)
	}
	return e.Store.Mark(e.Dir)
}

// childConfig travels from sx to its child as an argument.
type childConfig struct {
	Dir, ID, Runc, Snapshotter string
	CacheSize                  int64
	StandardGzip               bool
	Vary                       []buildkit.Variation `json:",omitempty"`
	// Maps names the ids of the engine's user namespace, "" where there is none.
	Maps string
	// Enter: this is the first half, see [enterUserNS].
	Enter bool
	// Task is what to do instead of serving.
	Task task
	// Path is what the task is about, relative to Dir.
	Path string
}

// start runs the engine and returns once it listens. It keeps lock.
func (e *Engine) start(ctx context.Context, id string, lock *os.File) error {
	fit, err := e.fitness()
	if err != nil {
		return err
	}
	if err := e.own(ctx, lock); err != nil {
		return err
	}
	cfg := childConfig{Dir: e.Dir, ID: id, Runc: fit.runc, Snapshotter: e.Snapshotter, CacheSize: e.CacheSize, StandardGzip: e.StandardGzip, Vary: e.Vary}
	err = e.spawn(ctx, cfg, fit.maps, lock)
	if errors.Is(err, errDied) { // of a damaged state, perhaps: then spawn begins anew
		err = e.spawn(ctx, cfg, fit.maps, lock)
	}
	return err
}

var errDied = errors.New("it died")

// startTime bounds how long an engine may take to open its state and to listen.
const startTime = 2 * time.Minute

func (e *Engine) spawn(ctx context.Context, cfg childConfig, maps *idMaps, lock *os.File) error {
	if err := e.forgetCrash(ctx, lock); err != nil {
		return fmt.Errorf("clearing a crashed engine's state: %w", err)
	}
	log, err := os.OpenFile(e.logPath(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, e.limits.starting(), fmt.Errorf("it did not listen within %s; see %q", e.limits.starting(), log.Name()))
	defer cancel()
	answer, err := e.runChild(ctx, cfg, maps, lock, log)
	var unfit *buildkit.UnfitError
	switch {
	case errors.As(err, &unfit):
		return unfit
	case err != nil:
		return fmt.Errorf("starting the engine: %w", err)
	case answer == readyWord:
		return nil
	case answer == "":
		return fmt.Errorf("starting the engine: %w; see %q", errDied, log.Name())
	}
	return childError("starting the engine", answer)
}

// childError is what a child wrote instead of the word that was waited for.
func childError(doing, answer string) error {
	var unfit buildkit.UnfitError
	if json.Unmarshal([]byte(answer), &unfit) == nil && unfit.Problem != "" {
		return &unfit
	}
	if strings.Contains(answer, syscall.ENOSPC.Error()) {
		return fmt.Errorf("%s: %w (%s)", doing, syscall.ENOSPC, answer)
	}
	return fmt.Errorf("%s: %s", doing, answer)
}

// runChild starts sx as its other half, in the user namespace of maps where that
// is not nil, and returns what it writes until it closes its end of the pipe: an
// engine that listens lives on. An ended ctx kills it before that.
func (e *Engine) runChild(ctx context.Context, cfg childConfig, maps *idMaps, lock, log *os.File) (string, error) {
	ready, readyW, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer ready.Close()
	mapped, mappedW, err := os.Pipe()
	if err != nil {
		readyW.Close()
		return "", err
	}
	defer mappedW.Close()
	if maps != nil {
		cfg.Maps, cfg.Enter = maps.name(), true
	}
	cmd, err := e.command(cfg, lock, readyW, mapped)
	if err == nil {
		if log != nil {
			cmd.Stdout, cmd.Stderr = log, log
		}
		err = cmd.Start()
	}
	readyW.Close()
	mapped.Close()
	switch {
	case err != nil && maps != nil:
		return "", e.refused("making a user namespace", err)
	case err != nil:
		return "", err
	}
	go cmd.Wait() // reaps the child; its life is told by the connection
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	if maps != nil {
		if err := maps.apply(cmd.Process.Pid); err != nil {
			cmd.Process.Kill()
			return "", e.refused("mapping ids into a user namespace", err)
		}
		mappedW.Write([]byte{1})
	}
	answer, err := io.ReadAll(ready)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return string(answer), err
}

// command is sx as its other half: a PID and a mount namespace of its own, and
// nothing of the caller's environment.
func (e *Engine) command(cfg childConfig, lock, ready, mapped *os.File) (*exec.Cmd, error) {
	blob, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(e.executable(), ChildArg, string(blob))
	cmd.Args[0] = "sx"
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + binDir, "TMPDIR=" + tempDir, "HOME=/", "TZ=UTC"}
	cmd.ExtraFiles = []*os.File{lock, ready, mapped} // fds 3, 4 and 5
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // a terminal's Ctrl-C is for sx, not for the engine
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
	}
	if cfg.Enter {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	return cmd, nil
}

// refused explains err by what is known of this machine.
func (e *Engine) refused(doing string, err error) error {
	o, factsErr := thisUser()
	if factsErr != nil {
		return errors.Join(err, factsErr)
	}
	return o.refused(doing, err)
}

func (e *Engine) logPath() string { return filepath.Join(e.Dir, "engine.log") }

// forgetCrash clears the state of an engine that ended by crashing. BuildKit's
// database crashes on a damaged file, at its start or later; no kill does that.
// What is lost is a cache. The log is kept as engine.crash.log.
func (e *Engine) forgetCrash(ctx context.Context, lock *os.File) error {
	log, err := os.ReadFile(e.logPath())
	if err != nil || !goCrash.Match(log) {
		return nil
	}
	if err := e.removeAll(ctx, lock, "state"); err != nil {
		return err
	}
	return os.Rename(e.logPath(), e.crashPath())
}

func (e *Engine) crashPath() string { return filepath.Join(e.Dir, "engine.crash.log") }

// goCrash is how the Go runtime's last words begin.
var goCrash = regexp.MustCompile(`(?m)^(panic|fatal error): `)
