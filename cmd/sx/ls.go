package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/inspect"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

type lsOptions struct {
	long, json bool
	platform   string
}

func newLsCommand(a *app) *cobra.Command {
	var o lsOptions
	c := &cobra.Command{
		Use:   "ls OUTPUT [PATH]",
		Short: "List the files in an output",
		Long: `Lists what the image of an output in out/ holds at PATH and below, or all of it: one path
per line, folders with a slash at the end. Its layers are merged as an engine mounts
them: what a layer removes is not listed, and a hard link is the file that it leads to.

Nothing is built or downloaded. Characters that would act on a terminal are escaped; with
--json names are as they are.`,
		Example: `  sx ls core-curl
  sx ls core-curl /usr/bin -l
  sx ls core-curl --json | jq -r '.files[] | select(.size > 1000000) | .path'`,
		Annotations:       codes(exitFailed, exitMachine),
		ValidArgsFunction: a.completeInside,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("name an output, and a path in it if you like: sx ls core-curl /usr/bin")
			}
			if err := exclusive(c, "long", "json"); err != nil {
				return err
			}
			return runLs(c.Context(), a, args, o)
		},
	}
	c.Flags().BoolVarP(&o.long, "long", "l", false, "print type, mode, owner, size and time too")
	addJSONFlag(c, &o.json, "each file with type, mode, owner, size, time and target")
	addImagePlatformFlag(c, &o.platform)
	return c
}

func runLs(ctx context.Context, a *app, args []string, o lsOptions) error {
	at := "/"
	if len(args) > 1 {
		at = args[1]
	}
	return lookInside(ctx, a, args[0], o.platform, func(img inspected) error {
		t, err := inspect.Read(ctx, img.Image)
		if err != nil {
			return err
		}
		if o.json {
			return noFile(img.ref, lsJSON(a.stdout, img, t, at))
		}
		w := bufio.NewWriter(a.stdout)
		err = t.Walk(at, func(f inspect.File) error { return printFile(w, f, o.long) })
		if err == nil {
			err = w.Flush()
		}
		return noFile(img.ref, err)
	})
}

func printFile(w io.Writer, f inspect.File, long bool) error {
	name := text.Field(f.Path)
	if f.Type == "folder" {
		name += "/"
	}
	if !long {
		_, err := fmt.Fprintln(w, name)
		return err
	}
	if f.Type == "link" {
		name += " -> " + text.Field(f.Target)
	}
	_, err := fmt.Fprintf(w, "%s %d:%d %10d %s %s\n", f.ModeString(), f.UID, f.GID, f.Size, f.ModTime.UTC().Format("2006-01-02 15:04:05"), name)
	return err
}

// The types that sx ls --json prints. They only gain fields.
type (
	lsImageJSON struct {
		Ref      graph.Ref    `json:"ref"`
		Platform oci.Platform `json:"platform"`
		Files    []lsFileJSON `json:"files"`
	}
	lsFileJSON struct {
		Path   string    `json:"path"`
		Type   string    `json:"type"`
		Mode   string    `json:"mode"` // octal
		UID    int       `json:"uid"`
		GID    int       `json:"gid"`
		Size   int64     `json:"size"`
		Time   time.Time `json:"time"`
		Target string    `json:"target,omitempty"` // of a symbolic link
	}
)

func lsJSON(w io.Writer, img inspected, t *inspect.Tree, at string) error {
	out := lsImageJSON{img.ref, img.platform, []lsFileJSON{}}
	err := t.Walk(at, func(f inspect.File) error {
		out.Files = append(out.Files, lsFileJSON{f.Path, f.Type, fmt.Sprintf("%04o", f.Mode), f.UID, f.GID, f.Size, f.ModTime.UTC(), f.Target})
		return nil
	})
	if err != nil {
		return err
	}
	return printJSON(w, out)
}
