package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing/format/config"
)

const nonblock = syscall.O_NONBLOCK

// place says where the history of a tree lies.
type place struct {
	gitDir string // holds HEAD
	common string // holds objects and refs; differs from gitDir in a linked worktree only
	prefix string // slash path of the tree under the repository's root, "." at the root
}

// locate finds the git folder of treeDir in it or above it, as git does, but with neither GIT_DIR nor trust: what is
// above must belong to the tree's owner, so that nobody else can plant a repository around it (in /tmp, say).
func locate(treeDir string) (place, error) {
	tree, err := realPath(treeDir)
	if err != nil {
		return place{}, noHistory("finding the tree: %w", err)
	}
	for dir := tree; ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(filepath.Join(dir, ".git"))
		switch {
		case err == nil:
			return placeAt(dir, tree, info)
		case !errors.Is(err, fs.ErrNotExist):
			return place{}, noHistory("finding the git repository: %w", err)
		case dir == filepath.Dir(dir):
			return place{}, noHistory("%q lies in no git repository", tree)
		}
	}
}

func placeAt(dir, tree string, info fs.FileInfo) (place, error) {
	git := filepath.Join(dir, ".git")
	if !sameOwner(info, tree) {
		return place{}, noHistory("%q belongs to another user than %q", git, tree)
	}
	prefix, err := filepath.Rel(dir, tree)
	if err != nil {
		return place{}, noHistory("%w", err)
	}
	p := place{gitDir: git, common: git, prefix: filepath.ToSlash(prefix)}
	switch {
	case info.IsDir():
	case info.Mode().IsRegular():
		if p.gitDir, err = followGitFile(git); err != nil {
			return place{}, err
		}
	default:
		return place{}, noHistory("%q is neither a folder nor a file", git)
	}
	p.common, err = commonDir(p.gitDir)
	return p, err
}

func sameOwner(info fs.FileInfo, tree string) bool {
	other, err := os.Lstat(tree)
	if err != nil {
		return false
	}
	a, ok := info.Sys().(*syscall.Stat_t)
	b, also := other.Sys().(*syscall.Stat_t)
	return ok && also && a.Uid == b.Uid
}

// followGitFile returns the git folder that a .git file points to. A linked worktree's git folder names the checkout back
// in its file "gitdir" (gitrepository-layout(5)), a submodule's in core.worktree; any other may be somebody else's.
func followGitFile(git string) (string, error) {
	target, err := pointer(filepath.Dir(git), ".git", "gitdir: ")
	if err != nil {
		return "", noHistory("following %q: %w", git, err)
	}
	back, err := pointer(target, "gitdir", "")
	if err == nil && filepath.Base(back) == ".git" {
		back = filepath.Dir(back)
	} else if back, err = configuredWorktree(target); err != nil {
		return "", noHistory("following %q: %q does not say whose it is: %w", git, target, err)
	}
	if back != filepath.Dir(git) {
		return "", noHistory("following %q: %q is the git folder of another checkout, %q", git, target, back)
	}
	return target, nil
}

// commonDir returns the folder with the objects: for a linked worktree the one whose worktrees/ its git folder lies in.
func commonDir(gitDir string) (string, error) {
	common, err := pointer(gitDir, "commondir", "")
	if errors.Is(err, fs.ErrNotExist) {
		return gitDir, nil
	}
	if err != nil {
		return "", noHistory("reading the common git folder: %w", err)
	}
	if filepath.Join(common, "worktrees") != filepath.Dir(gitDir) {
		return "", noHistory("the common git folder of %q is %q, in which it does not lie", gitDir, common)
	}
	return common, nil
}

// pointer reads a file in dir that holds a path after mark, relative to dir or absolute. The path must exist.
func pointer(dir, name, mark string) (string, error) {
	data, err := readSmall(dir, name)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(strings.TrimRight(string(data), "\r\n"), mark)
	if !ok || path == "" {
		return "", errors.New("it holds no path")
	}
	return realPath(relativeTo(dir, path))
}

func configuredWorktree(gitDir string) (string, error) {
	cfg, err := readConfig(gitDir)
	if err != nil {
		return "", err
	}
	path := cfg.Section("core").Option("worktree")
	if path == "" {
		return "", errors.New("no core.worktree in its configuration")
	}
	return realPath(relativeTo(gitDir, path))
}

// readConfig parses a git folder's configuration. It follows no include, and nothing in it is run.
func readConfig(gitDir string) (*config.Config, error) {
	data, err := readSmall(gitDir, "config")
	if err != nil {
		return nil, err
	}
	cfg := config.New()
	if err := config.NewDecoder(bytes.NewReader(data)).Decode(cfg); err != nil {
		return nil, fmt.Errorf("reading the git configuration: %w", err)
	}
	return cfg, nil
}

// readSmall reads name in dir, which must be a regular file that is no link out of it.
func readSmall(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := readable(root, name, 1<<20)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func relativeTo(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
