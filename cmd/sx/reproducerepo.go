package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/checkout"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch/gitpack"
)

// treesDir returns the folder of the trees that --repo fetches, by the XDG base directory
// specification.
func treesDir() (string, error) {
	dir := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(dir) {
		home := os.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", usagef("neither XDG_CACHE_HOME nor HOME is an absolute path, so there is no folder for the trees of --repo: set one of them")
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(dir, "sx", "trees"), nil
}

// inRepo makes the tree of --repo the one that the command works in.
func inRepo(ctx context.Context, a *app, repo string) error {
	source, dir, err := repoSource(repo)
	if err != nil {
		return err
	}
	c, err := checkout.Open(ctx, dir, source, gitOptions())
	if err != nil {
		return err
	}
	said := "the commit " + c.Commit
	switch {
	case c.Tag != "":
		said = fmt.Sprintf("the tag %s is now the object %s (%s) of the commit %s", source.Tag, c.Tag, text.Field(c.Tagger), c.Commit)
	case source.Tag != "":
		said = fmt.Sprintf("the tag %s is now the commit %s", source.Tag, c.Commit)
	}
	fmt.Fprintf(a.stderr, "sx: %s: %s\nsx: its tree is in %s\n", text.Field(source.URL), said, text.Field(c.Dir))
	a.dir = c.Dir
	return nil
}

func repoSource(repo string) (checkout.Source, string, error) {
	source, err := checkout.Parse(repo)
	if err != nil {
		return source, "", usagef("--repo: %w", err)
	}
	dir, err := treesDir()
	return source, dir, err
}

// gitOptions are how servers of --repo are asked: there are no settings of a tree yet.
func gitOptions() gitpack.Options {
	return gitpack.Options{UserAgent: "sx/" + sxVersion().Version}
}

// removeRepo removes the tree of --repo, and what was reproduced in it.
func removeRepo(ctx context.Context, a *app, repo string, clean func() error) error {
	source, dir, err := repoSource(repo)
	if err != nil {
		return err
	}
	commit, err := checkout.Resolve(ctx, source, gitOptions())
	if err != nil {
		return err
	}
	path, found := checkout.Path(dir, commit)
	if found {
		a.dir = path
		if err := clean(); err != nil && !brokenTree(err) {
			return err
		}
	}
	return checkout.Remove(dir, commit)
}

// brokenTree reports whether err says that a tree cannot be read, and not that another sx
// works in it.
func brokenTree(err error) bool {
	return exitCode(err) == exitUsage && !errors.Is(err, cache.ErrInUse)
}
