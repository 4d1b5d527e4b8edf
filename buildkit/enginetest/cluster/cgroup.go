//go:build linux

package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cgroupPrefix is followed by the id of the process that runs the cluster.
const cgroupPrefix = "sx-test-"

// hierarchies returns the folders of the kernel's cgroup hierarchies.
func hierarchies() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	found, _ := filepath.Glob("/sys/fs/cgroup/*")
	return slices.DeleteFunc(found, func(h string) bool {
		info, err := os.Stat(filepath.Join(h, "cgroup.procs"))
		return err != nil || info.IsDir()
	})
}

// makeCgroups makes a node's cgroup in each hierarchy, as the kubelet wants to find
// it. A cpuset is empty until it gets its parent's processors and memory.
func makeCgroups(group string) error {
	for _, h := range hierarchies() {
		dir := h
		for part := range strings.SplitSeq(strings.Trim(group, "/"), "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if filepath.Base(h) != "cpuset" {
				continue
			}
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				value, err := os.ReadFile(filepath.Join(parent, file))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// thaw lets all frozen processes below a cgroup run, so that they can be killed.
func thaw(group string) {
	filepath.WalkDir(filepath.Join("/sys/fs/cgroup/freezer", group), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "freezer.state" {
			os.WriteFile(path, []byte("THAWED"), 0)
		}
		return nil
	})
}

// removeCgroups removes a cgroup with all below it from each hierarchy, once their
// processes have ended.
func removeCgroups(group string) error {
	folders, _ := filepath.Glob("/sys/fs/cgroup/*/" + group) // runc makes one where nodes have none
	folders = append(folders, filepath.Join("/sys/fs/cgroup", group))
	var busy error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // no event tells of it
		busy = nil
		for _, folder := range folders {
			if err := removeTree(folder); err != nil {
				busy = err
			}
		}
		if busy == nil {
			return nil
		}
	}
	return fmt.Errorf("a cgroup of the cluster was not removed: %w", busy)
}

// removeStale removes the cgroups of clusters whose process was killed.
func removeStale() {
	found, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroupPrefix + "*")
	for _, folder := range found {
		if _, err := os.Stat("/proc/" + strings.TrimPrefix(filepath.Base(folder), cgroupPrefix)); errors.Is(err, fs.ErrNotExist) {
			removeTree(folder)
		}
	}
}

// removeTree removes the folders of a cgroup, the deepest first; their files cannot be
// removed.
func removeTree(folder string) error {
	var all []string
	filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(all) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
