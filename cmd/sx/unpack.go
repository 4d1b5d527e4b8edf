package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/inspect"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newUnpackCommand(a *app) *cobra.Command {
	var platform string
	c := &cobra.Command{
		Use:   "unpack OUTPUT DIR",
		Short: "Write the files of an output into a folder",
		Long: `Writes what the image of an output in out/ holds into a new folder DIR, or into an empty
one: its layers on top of each other, with modes, times, links and extended attributes. As
root, files get the owners of the image; else they belong to you, and devices become empty
files. DIR appears once it is complete; after a kill a folder .sx-unpack-* may be left
beside it.

Nothing is built or downloaded, and while it is written no link of the image leads out of
it. Afterwards its links lead where they say: nobody proved what is in it.`,
		Example: `  sx unpack core-curl /tmp/curl
  sx unpack pallet-rust rust --platform linux/arm64`,
		Annotations:       codes(exitFailed, exitMachine, exitDisk),
		ValidArgsFunction: a.completeThenFolder,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("name an output and a folder: sx unpack core-curl /tmp/curl")
			}
			return runUnpack(c.Context(), a, args, platform)
		},
	}
	addImagePlatformFlag(c, &platform)
	return c
}

func runUnpack(ctx context.Context, a *app, args []string, platform string) error {
	dir, err := filepath.Abs(args[1])
	if err != nil {
		return err
	}
	if err := mayFill(dir); err != nil {
		return err
	}
	return lookInside(ctx, a, args[0], platform, func(img inspected) error {
		u, err := inspect.Unpack(ctx, img.Image, dir)
		if err == nil && u.Devices > 0 {
			fmt.Fprintf(a.stderr, "sx: %s became empty files in %s: only root can make devices\n", count(u.Devices, "device"), text.Field(args[1]))
		}
		return err
	})
}

// mayFill refuses a folder that has something in it.
func mayFill(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usagef("%w", err)
	case len(entries) > 0:
		return usagef("%s is not empty: name a new folder", dir)
	}
	return nil
}
