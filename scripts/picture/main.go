// Picture records `sx build --all` of the example tree in a terminal and renders it as an
// SVG, the README's docs/build.svg:
//
//	go run ./scripts/picture ./sx > docs/build.svg
//
// It needs script(1), of util-linux. The terminal knows the few sequences that sx writes,
// and any other is an error: what is in the picture is text.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	width, height = 92, 24 // of the terminal
	command       = "sx build --all"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: picture SX > FILE.svg, in the root of the checkout")
	}
	dir, err := os.MkdirTemp("", "picture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	output, timing, err := record(args[0], dir)
	if err != nil {
		return err
	}
	frames, err := play(output, timing)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(render(frames))
	return err
}

// record runs the command on a copy of the example tree, in a terminal without a user's
// settings. It returns what was written to the terminal, and script's account of when.
func record(sx, dir string) (output, timing []byte, err error) {
	sx, err = filepath.Abs(sx)
	if err != nil {
		return nil, nil, err
	}
	tree := filepath.Join(dir, "tree")
	for _, part := range []string{"packages", "fetch", "digests"} {
		if err := os.CopyFS(filepath.Join(tree, part), os.DirFS(filepath.Join("examples", part))); err != nil {
			return nil, nil, err
		}
	}
	out, times := filepath.Join(dir, "out"), filepath.Join(dir, "timing")
	c := exec.Command("script", "--quiet", "--return", "--log-out", out, "--log-timing", times, "--command",
		fmt.Sprintf("stty cols %d rows %d; exec '%s' build --all", width, height, sx))
	c.Dir = tree
	c.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=xterm", "SHELL=/bin/sh"}
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = nil, &stderr
	if err := c.Run(); err != nil {
		said, _ := os.ReadFile(out)
		return nil, nil, fmt.Errorf("recording: %w\n%s%s", err, stderr.Bytes(), said)
	}
	if output, err = os.ReadFile(out); err != nil {
		return nil, nil, err
	}
	timing, err = os.ReadFile(times)
	return output, timing, err
}
