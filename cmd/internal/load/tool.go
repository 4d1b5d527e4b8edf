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

// MissingError says that no program to load with can be used, and why.
type MissingError struct{ Tried []Tried }

// Tried is a program that cannot be used.
type Tried struct {
	Name   string
	Reason string // "is not in PATH"
}

func (e *MissingError) Error() string {
	var names, reasons []string
	for _, t := range e.Tried {
		names = append(names, t.Name)
		reasons = append(reasons, t.Name+" "+t.Reason)
	}
	return fmt.Sprintf("no %s to import with: %s; install or start one, or push to a registry instead (sx push)",
		strings.Join(names, " or "), strings.Join(reasons, "; "))
}

// Find returns the named program, or with "" the first of Tools, that is in PATH and
// answers: docker's client is often installed without a daemon. The error is a
// *MissingError if none does, or ctx's cause.
func Find(ctx context.Context, name string) (*Tool, error) {
	names := Tools
	if name != "" {
		names = []string{name}
	}
	var tried []Tried
	for _, n := range names {
		tool, reason := ask(ctx, n)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if tool != nil {
			return tool, nil
		}
		tried = append(tried, Tried{n, reason})
	}
	return nil, &MissingError{tried}
}

// answerTime is how long a program may take to reach its daemon.
const answerTime = 10 * time.Second

// ask returns the named program, or why it cannot be used.
func ask(ctx context.Context, name string) (*Tool, string) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, "is not in PATH"
	}
	if err != nil {
		return nil, "cannot be run: " + err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	kind, err := says(ctx, path, "--version") // a podman that is installed as docker says so
	if err == nil {
		_, err = says(ctx, path, "version") // asks the daemon, too
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Sprintf("(%s) does not answer in %s", path, answerTime)
	case err != nil:
		return nil, fmt.Sprintf("(%s) does not answer: %v", path, err)
	}
	return &Tool{path: path, podman: bytes.HasPrefix(kind, []byte("podman"))}, ""
}

// says returns what the program prints. The error ends with the last line that it wrote to stderr.
func says(ctx context.Context, path string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	said := &tail{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(said.data)), "\n")
		if last := lines[len(lines)-1]; last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
	}
	return out, err
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
