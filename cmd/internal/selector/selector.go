// Package selector reads what people type where a command wants outputs: paths relative to
// the working folder, which it turns into the selectors of graph.Select, and the words of
// other tools, which it answers with the command of sx that does the same.
//
// It looks whether a path exists, and reads no file. What a selector selects is decided by
// package graph alone.
//
// Start at [Local] and [Command].
package selector

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Local returns args with paths that exist replaced by the same paths relative to the
// tree, with slashes: "." in packages/core/rust, and "../rust/Containerfile" in
// packages/core/zlib, become paths in packages/core/rust. Paths are relative to base. Only
// those below packages/, out/ and fetch/ are replaced.
//
// A path begins with "/", "./" or "../", or is "." or "..". Another argument is taken for one
// only if plain says that it selects nothing, so that a folder in the way changes no name's
// meaning.
func Local(tree, base string, args []string, plain func(string) bool) []string {
	out := slices.Clone(args)
	for i, arg := range args {
		if !isPath(arg) && plain(arg) {
			continue
		}
		if rel, ok := within(tree, base, arg); ok {
			out[i] = rel
		}
	}
	return out
}

// isPath reports whether an argument can only be a path.
func isPath(arg string) bool {
	first, _, _ := strings.Cut(arg, "/")
	return first == "." || first == ".." || strings.HasPrefix(arg, "/")
}

// within returns the path relative to the tree, if it exists and may select something.
func within(tree, base, arg string) (string, bool) {
	path := arg
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	if arg == "" {
		return "", false
	}
	if _, err := os.Lstat(path); err != nil {
		return "", false
	}
	rel, ok := relative(tree, path)
	if !ok { // the same folder by another name?
		realTree, err := filepath.EvalSymlinks(tree)
		realPath, err2 := filepath.EvalSymlinks(path)
		if err != nil || err2 != nil {
			return "", false
		}
		if rel, ok = relative(realTree, realPath); !ok {
			return "", false
		}
	}
	top, rest, _ := strings.Cut(rel, "/")
	if rel == "." || rel == "packages" {
		return rel, true
	}
	return rel, rest != "" && slices.Contains([]string{"packages", "out", "fetch"}, top)
}

// relative returns path relative to tree, with slashes, if it is in it.
func relative(tree, path string) (string, bool) {
	rel, err := filepath.Rel(tree, path)
	if err != nil {
		return "", false
	}
	rel = filepath.ToSlash(rel)
	return rel, rel != ".." && !strings.HasPrefix(rel, "../")
}
