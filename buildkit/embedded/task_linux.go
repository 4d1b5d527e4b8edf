package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded/worker"
)

// task is what a child does. All but the first exist because files of an ordinary
// user's engine belong to other ids: only inside the user namespace can they be
// read and removed.
type task string

const (
	taskServe   task = ""
	taskRemove  task = "remove"
	taskMeasure task = "measure"
)

// doneWord is what a finished task writes; before it may stand what was found.
const doneWord = "done"

// removeAll removes a file or folder of the engine's own folder, "." for that
// folder as a whole. It is called under the lock.
func (e *Engine) removeAll(ctx context.Context, lock *os.File, name string) error {
	path := filepath.Join(e.Dir, name)
	if err := worker.Unmark(e.Dir); err != nil {
		return err
	}
	err := os.RemoveAll(path)
	if err == nil || os.Geteuid() == 0 || !isForbidden(err) {
		return err
	}
	if _, err := e.inside(ctx, childConfig{Task: taskRemove, Path: name}, lock); err != nil {
		return fmt.Errorf("%w; root can: sudo rm -rf %s", err, path)
	}
	return os.RemoveAll(path)
}

// inside runs a task in the user namespace in which this user's engines run, and
// returns what it found.
func (e *Engine) inside(ctx context.Context, cfg childConfig, lock *os.File) (string, error) {
	maps, err := userMaps()
	if err != nil {
		return "", err
	}
	cfg.Dir = e.Dir
	answer, err := e.runChild(ctx, cfg, maps, lock, nil)
	if err != nil {
		return "", err
	}
	if found, ok := cutDone(answer); ok {
		return found, nil
	}
	if answer == "" {
		answer = "it was killed"
	}
	return "", childError("entering the user namespace", answer)
}

func cutDone(answer string) (string, bool) {
	n := len(answer) - len(doneWord)
	if n < 0 || answer[n:] != doneWord {
		return "", false
	}
	return answer[:n], true
}

func removeTask(cfg childConfig, ready *os.File) error {
	if err := os.RemoveAll(filepath.Join(cfg.Dir, cfg.Path)); err != nil {
		return err
	}
	_, err := ready.WriteString(doneWord)
	return err
}

func measureTask(cfg childConfig, ready *os.File) error {
	u, err := measure(filepath.Join(cfg.Dir, cfg.Path))
	if err != nil {
		return err
	}
	if err := json.NewEncoder(ready).Encode(u); err != nil {
		return err
	}
	_, err = ready.WriteString(doneWord)
	return err
}

// measure adds up the files below dir, each inode once. What vanishes meanwhile
// counts for nothing: an engine may be at work.
func measure(dir string) (u buildkit.Usage, err error) {
	links := map[uint64]uint64{} // of an inode, as far as they were met
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err != nil {
			return ignoreGone(err)
		}
		size := st.Blocks * 512
		if d.IsDir() || st.Nlink == 1 {
			u.Bytes += size
			return nil
		}
		links[st.Ino]++
		if links[st.Ino] == 1 {
			u.Bytes += size
			u.Shared += size
		}
		if links[st.Ino] == uint64(st.Nlink) { // all of them lie here
			u.Shared -= size
		}
		return nil
	})
	return u, err
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// usage measures what the engine holds, also while it runs.
func (e *Engine) usage(ctx context.Context) (u buildkit.Usage, err error) {
	u, err = measure(e.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return buildkit.Usage{}, nil
	}
	if os.Geteuid() == 0 || !isForbidden(err) {
		return u, err
	}
	found, err := e.inside(ctx, childConfig{Task: taskMeasure, Path: "."}, nil)
	if err != nil {
		return u, fmt.Errorf("measuring %q: %w", e.Dir, err)
	}
	return u, json.Unmarshal([]byte(found), &u)
}
