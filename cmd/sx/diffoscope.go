package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// storeBlobs are those of an output in out/.
type storeBlobs struct{ *cache.Image }

func (b storeBlobs) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return b.Image.Open(d)
}

// diffoscopeTime bounds one run of diffoscope, and diffoscopeLines what is shown of it.
const (
	diffoscopeTime  = 15 * time.Minute
	diffoscopeBytes = 64 << 20
)

// diffoscopeError says that diffoscope cannot be run, or failed.
type diffoscopeError struct{ err error }

func (e *diffoscopeError) Error() string {
	return fmt.Sprintf("running diffoscope: %s; Debian has it as diffoscope-minimal", e.err)
}
func (e *diffoscopeError) Unwrap() error { return e.err }

// diffoscope keeps files of both images for the program of that name. The zero value runs nothing.
type diffoscope struct {
	program, dir string
	kept         *[]string
}

func newDiffoscope() (diffoscope, error) {
	program, err := exec.LookPath("diffoscope")
	if err != nil {
		return diffoscope{}, &diffoscopeError{err}
	}
	dir, err := os.MkdirTemp(imagediff.TempDir(), "sx-diffoscope-")
	return diffoscope{program, dir, &[]string{}}, err
}

func (d diffoscope) close() { os.RemoveAll(d.dir) }

// keep writes both contents into files whose names are ours: those of the image are another's.
func (d diffoscope) keep(_ context.Context, path string, a, b io.Reader) error {
	n := fmt.Sprint(len(*d.kept))
	*d.kept = append(*d.kept, path)
	for side, r := range map[string]io.Reader{"a": a, "b": b} {
		dir := filepath.Join(d.dir, n, side)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// run runs diffoscope on each file that was kept.
func (d diffoscope) run(ctx context.Context, w io.Writer, wanted []string) error {
	if d.kept == nil {
		return nil
	}
	for _, path := range wanted {
		n := slices.Index(*d.kept, path)
		fmt.Fprintf(w, "\ndiffoscope: %s\n", text.Field(path))
		if n < 0 {
			fmt.Fprintln(w, "both images have the same content, or not both have the file")
			continue
		}
		if err := d.one(ctx, w, fmt.Sprint(n)); err != nil {
			return err
		}
	}
	return nil
}

func (d diffoscope) one(ctx context.Context, w io.Writer, n string) error {
	ctx, cancel := context.WithTimeout(ctx, diffoscopeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.program, "--no-progress", "a/file", "b/file")
	cmd.Dir = filepath.Join(d.dir, n)
	cmd.WaitDelay = 5 * time.Second
	lines := text.NewLogWriter(w)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var said limitedBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return &diffoscopeError{err}
	}
	if _, err := io.Copy(lines, io.LimitReader(out, diffoscopeBytes)); err != nil {
		cancel()
	}
	io.Copy(io.Discard, out)
	lines.Close()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 || err == nil { // they differ, which was known
		return nil
	}
	return &diffoscopeError{fmt.Errorf("%w: %s", err, said.String())}
}

// limitedBuffer keeps the first kilobytes of what a program says.
type limitedBuffer struct{ data []byte }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p[:min(len(p), 4096-len(b.data))]...)
	return len(p), nil
}

func (b *limitedBuffer) String() string { return string(b.data) }
