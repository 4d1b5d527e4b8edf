package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/cache"
)

// Tools are the programs that can be given images, in the order in which they
// are looked for.
var Tools = []string{"docker", "podman"}

const (
	repository = "docker.io/stagex/" // of every output
	local      = "local"             // the tag that names what was imported last
)

// Tool is one of them on this machine.
type Tool struct {
	path   string
	podman bool
}

// MissingError says that no program to load with is installed.
type MissingError struct{ Names []string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("no %s in PATH: install one, or push to a registry instead (sx push)", strings.Join(e.Names, " or "))
}

// Find looks for the named program in PATH; "" takes the first of Tools.
func Find(ctx context.Context, name string) (*Tool, error) {
	names := Tools
	if name != "" {
		names = []string{name}
	}
	for _, n := range names {
		path, err := exec.LookPath(n)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Where podman is installed as docker, it says so.
		version, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			return nil, fmt.Errorf("asking %s --version: %w", path, err)
		}
		return &Tool{path: path, podman: bytes.HasPrefix(version, []byte("podman"))}, nil
	}
	return nil, &MissingError{names}
}

// String is the program's path.
func (t *Tool) String() string { return t.path }

// Load sends img and gives it the names docker.io/stagex/<output> with tag and
// with "local". Docker keeps all platforms where it has the containerd image
// store, else that of this machine, as podman does. Images keep their digests,
// but for a docker without that store, which has none to keep.
func (t *Tool) Load(ctx context.Context, img *cache.Image, tag string) error {
	name := repository + img.Output
	root := img.Root
	if t.podman { // which takes an index of another machine's platform for empty
		root = hostImage(img).Manifest
	}
	err := t.feed(ctx, []string{"load", "-q"}, func(w io.Writer) error {
		return archive(w, img, root, name, tag)
	})
	if err != nil || tag == local {
		return err
	}
	return t.feed(ctx, []string{"tag", name + ":" + tag, name + ":" + local}, func(io.Writer) error { return nil })
}

// feed runs the program with what write writes as its input. Where that fails,
// the program is ended before it could take what came for the whole.
func (t *Tool) feed(ctx context.Context, args []string, write func(io.Writer) error) error {
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.WaitDelay = 5 * time.Second                       // should a child of it hold its stderr open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for sx, which ends it
	said := &tail{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("running %s: %w", t.path, err)
	}
	sent := &sending{w: in}
	failed := write(sent)
	if failed != nil {
		cmd.Process.Kill()
	}
	in.Close()
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed != nil && sent.err == nil: // reading, not sending, went wrong
		return failed
	case ended != nil:
		return fmt.Errorf("running %s %s: %w%s", t.path, args[0], ended, said)
	}
	return failed
}

// sending remembers that the program took no more.
type sending struct {
	w   io.Writer
	err error
}

func (s *sending) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// tail keeps the end of what a program says.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-2048):]
	return len(p), nil
}

// String is ready to stand behind a message.
func (t *tail) String() string {
	if len(bytes.TrimSpace(t.data)) == 0 {
		return ""
	}
	return ":\n" + string(bytes.TrimSpace(t.data))
}
