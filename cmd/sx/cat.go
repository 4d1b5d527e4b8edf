package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"codeberg.org/stagex/sx/cmd/internal/inspect"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newCatCommand(a *app) *cobra.Command {
	var platform string
	c := &cobra.Command{
		Use:   "cat OUTPUT PATH",
		Short: "Print a file of an output",
		Long: `Prints the content of a file in the image of an output in out/. Symbolic links are
followed inside the image, and only there.

The bytes are printed as they are, unless stdout is a terminal: then characters that would
act on it are escaped. Nothing is built or downloaded.`,
		Example: `  sx cat core-ca-certificates /etc/ssl/certs/ca-certificates.crt
  sx cat core-curl /usr/bin/curl | file -`,
		Annotations:       codes(exitFailed, exitMachine),
		ValidArgsFunction: a.completeInside,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("name an output and a path in it: sx cat core-curl /usr/bin/curl")
			}
			return runCat(c.Context(), a, args, platform)
		},
	}
	addImagePlatformFlag(c, &platform)
	return c
}

func runCat(ctx context.Context, a *app, args []string, platform string) error {
	return lookInside(ctx, a, args[0], platform, func(img inspected) error {
		t, err := inspect.Read(ctx, img.Image)
		if err != nil {
			return err
		}
		f, err := t.File(args[1])
		if err != nil {
			return noFile(img.ref, err)
		}
		if f.Type != "file" {
			return usagef("%q in %s is a %s; sx ls %s lists it", f.Path, img.ref, f.Type, img.ref)
		}
		if !term.IsTerminal(int(os.Stdout.Fd())) {
			return t.Copy(ctx, a.stdout, f)
		}
		w := text.NewLogWriter(a.stdout)
		return errors.Join(t.Copy(ctx, w, f), w.Close())
	})
}
