package buildkit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/progress/progressui"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
)

// Shell is a program to run inside a build.
type Shell struct {
	// Args is what to run; empty: the first shell that there is.
	Args []string
	// With, if not nil, is an image that is mounted read-only at [WithAt], with its
	// programs at the end of PATH. It should be a static one.
	With *cache.Layout

	Stdin          io.ReadCloser
	Stdout, Stderr io.WriteCloser
	TTY            bool
	Size           <-chan gateway.WinSize // of the terminal, now and when it changes; nil: none

	// Begin is called when the program is about to start. failed is the *BuildError of
	// the step whose state this is, nil in the root of a finished output.
	Begin func(failed error)
}

// WithAt is where the image of Shell.With is mounted.
const WithAt = "/.sx-with"

// NoShellError says that there is no shell to start.
type NoShellError struct{}

func (*NoShellError) Error() string {
	return "there is no shell in it: --with core-busybox brings one, or name a program behind --"
}

// ExitError is the exit code of the program, other than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("the program ended with exit code %d", e.Code) }

// Shell builds job up to the step that fails, or to its end, and runs a program in what
// is there: with the mounts, the environment, the user and the network of the failed
// step, or in the output's root. It leaves nothing in job.Into.
//
// The error is a *NoShellError, an *ExitError, or one of [Builder.Build] of a build that
// failed in no RUN.
func (b *Builder) Shell(ctx context.Context, job Job, sh Shell) error {
	b.builds.RLock()
	defer b.builds.RUnlock()
	deps, err := contentsOf(b.store, withLayout(job.Deps, sh.With), job.Images)
	if err != nil {
		return err
	}
	job.disk = b.conn.ContentDir
	b.blobs.offer(deps.blobs)
	inputs, release, err := b.prepare(job, deps)
	if err != nil {
		return err
	}
	defer release()
	ctx, stop := whileReadable(ctx, inputs.contexts...)
	defer stop()
	b.link(deps.blobs)
	in := &inside{Builder: b, solveInputs: inputs, shell: sh, log: &gate{w: job.Log}}
	return in.interact(ctx)
}

// withLayout adds the layout of a further image to those of dependencies.
func withLayout(deps map[string]cache.Layout, more *cache.Layout) map[string]cache.Layout {
	if more == nil {
		return deps
	}
	all := map[string]cache.Layout{"\x00with": *more} // no output has that name
	for name, l := range deps {
		all[name] = l
	}
	return all
}

// gate is a log that ends when the program starts, which has the terminal to itself.
type gate struct {
	w      io.Writer
	closed atomic.Bool
}

func (g *gate) Write(p []byte) (int, error) {
	if g.w == nil || g.closed.Load() {
		return len(p), nil
	}
	return g.w.Write(p)
}

// inside is a program that runs inside a build.
type inside struct {
	*Builder
	solveInputs
	shell Shell
	log   *gate
	watch watch
}

func (in *inside) interact(ctx context.Context) error {
	status := make(chan *client.SolveStatus)
	in.watch.job, in.watch.started = in.job, map[string]bool{}
	var result error
	eg, ectx := errgroup.WithContext(ctx)
	eg.Go(func() error {
		_, err := in.conn.Client.Build(ectx, client.SolveOpt{
			SharedSession: in.session, SessionPreInitialized: true, Internal: true,
		}, "sx", func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
			result = in.enter(ctx, gw)
			return gateway.NewResult(), nil
		}, status)
		return err
	})
	eg.Go(func() error { return in.show(context.WithoutCancel(ctx), status) })
	err := eg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return cmp.Or(result, err)
}

// show writes the engine's plain progress to the log until the program starts.
func (in *inside) show(ctx context.Context, status <-chan *client.SolveStatus) error {
	display, err := progressui.NewDisplay(in.log, progressui.PlainMode)
	if err != nil {
		for range status {
		}
		return err
	}
	_, err = display.UpdateFrom(ctx, tee(status, in.watch.see))
	return err
}

// tee calls see with each message that it passes on.
func tee(from <-chan *client.SolveStatus, see func(*client.SolveStatus)) chan *client.SolveStatus {
	to := make(chan *client.SolveStatus)
	go func() {
		defer close(to)
		for s := range from {
			see(s)
			to <- s
		}
	}()
	return to
}

// enter solves the request and starts the program in what comes of it.
func (in *inside) enter(ctx context.Context, gw gateway.Client) error {
	main, err := in.input.Marshal(ctx)
	if err != nil {
		return err
	}
	res, err := gw.Solve(ctx, gateway.SolveRequest{
		Evaluate: true, Frontend: "dockerfile.v0", FrontendOpt: in.attrs,
		FrontendInputs: map[string]*pb.Definition{"context": main.ToPB()},
	})
	for _, s := range in.contexts {
		if failure := s.failure(); failure != nil {
			return failure
		}
	}
	if err != nil {
		return in.enterFailed(ctx, gw, err)
	}
	ref, config, err := resultRoot(res)
	if err != nil {
		return err
	}
	return in.start(ctx, gw, gateway.NewContainerRequest{Mounts: []gateway.Mount{{Dest: "/", Ref: ref, MountType: pb.MountType_BIND}}},
		gateway.StartRequest{Env: config.Env, Cwd: cmp.Or(config.WorkingDir, "/"), User: config.User}, nil)
}

// resultRoot returns the root of an output that was built for one platform, and the config
// of its image.
func resultRoot(res *gateway.Result) (gateway.Reference, ocispecs.ImageConfig, error) {
	var image ocispecs.Image
	ref, err := res.SingleRef()
	raw := res.Metadata["containerimage.config"]
	if err != nil || ref == nil { // one platform, with its name
		for name, r := range res.Refs {
			ref, raw = r, res.Metadata["containerimage.config/"+name]
		}
	}
	switch {
	case len(res.Refs) > 1:
		return nil, image.Config, errors.New("it was built for several platforms: choose one with --platform")
	case ref == nil:
		return nil, image.Config, errors.New("the output is empty: there is no file in it")
	case len(raw) == 0:
		return ref, image.Config, nil
	}
	if err := json.Unmarshal(raw, &image); err != nil {
		return nil, image.Config, fmt.Errorf("reading the engine's answer: %w", err)
	}
	return ref, image.Config, nil
}

// enterFailed starts the program where a RUN failed.
func (in *inside) enterFailed(ctx context.Context, gw gateway.Client, err error) error {
	failed := in.explain(ctx, &in.watch, time.Now(), err)
	var solve *errdefs.SolveError
	if !errors.As(err, &solve) {
		return failed
	}
	op, ok := solve.Op.GetOp().(*pb.Op_Exec)
	if !ok || len(solve.MountIDs) < len(op.Exec.Mounts) {
		return failed
	}
	req := gateway.NewContainerRequest{
		NetMode: op.Exec.Network, Hostname: op.Exec.Meta.Hostname, ExtraHosts: op.Exec.Meta.ExtraHosts,
		Platform: solve.Op.Platform, Constraints: solve.Op.Constraints,
	}
	for i, m := range op.Exec.Mounts {
		req.Mounts = append(req.Mounts, gateway.Mount{
			Selector: m.Selector, Dest: m.Dest, ResultID: solve.MountIDs[i], Readonly: m.Readonly,
			MountType: m.MountType, CacheOpt: m.CacheOpt, SecretOpt: m.SecretOpt, SSHOpt: m.SSHOpt,
		})
	}
	return in.start(ctx, gw, req, gateway.StartRequest{
		Env: op.Exec.Meta.Env, Cwd: op.Exec.Meta.Cwd, User: op.Exec.Meta.User, SecurityMode: op.Exec.Security,
	}, failed)
}

// start runs the program in a new container and waits for its end.
func (in *inside) start(ctx context.Context, gw gateway.Client, req gateway.NewContainerRequest, start gateway.StartRequest, failed error) error {
	if in.shell.With != nil {
		m, err := in.mountWith(ctx, gw)
		if err != nil {
			return err
		}
		req.Mounts = append(req.Mounts, m)
		start.Env = addPath(start.Env, WithAt)
	}
	c, err := gw.NewContainer(ctx, req)
	if err != nil {
		return fmt.Errorf("making a container: %w", err)
	}
	defer c.Release(context.WithoutCancel(ctx))
	if start.Args, err = in.args(ctx, c, req.Mounts); err != nil {
		if failed != nil {
			return fmt.Errorf("%w: %w", failed, err)
		}
		return err
	}
	in.log.closed.Store(true)
	if in.shell.Begin != nil {
		in.shell.Begin(failed)
	}
	start.Stdin, start.Stdout, start.Stderr, start.Tty = in.shell.Stdin, in.shell.Stdout, in.shell.Stderr, in.shell.TTY
	p, err := c.Start(ctx, start)
	if err != nil {
		return fmt.Errorf("starting %q: %w", start.Args[0], err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case size, ok := <-in.shell.Size:
				if !ok {
					return
				}
				p.Resize(ctx, size)
			case <-ended:
				return
			}
		}
	}()
	err = p.Wait()
	if exit := (*gatewaypb.ExitError)(nil); errors.As(err, &exit) {
		return &ExitError{int(exit.ExitCode)}
	}
	return err
}

// mountWith solves the image of Shell.With.
func (in *inside) mountWith(ctx context.Context, gw gateway.Client) (gateway.Mount, error) {
	state := llb.OCILayout(fmt.Sprintf("docker.io/library/%s@%s", storeID, root(*in.shell.With)), llb.OCIStore(in.session.ID(), storeID))
	def, err := state.Marshal(ctx)
	if err != nil {
		return gateway.Mount{}, err
	}
	res, err := gw.Solve(ctx, gateway.SolveRequest{Evaluate: true, Definition: def.ToPB()})
	if err != nil {
		return gateway.Mount{}, fmt.Errorf("mounting the image of --with: %w", err)
	}
	ref, err := res.SingleRef()
	return gateway.Mount{Dest: WithAt, Ref: ref, Readonly: true, MountType: pb.MountType_BIND}, err
}

// shells are looked for in this order.
var shells = [][]string{{"/bin/bash"}, {"/usr/bin/bash"}, {"/bin/sh"}, {"/usr/bin/sh"}}

// carried are looked for in the image of Shell.With: there sh is often an absolute link to
// busybox, which leads nowhere from below [WithAt].
var carried = append([][]string{{"/bin/busybox", "sh"}, {"/usr/bin/busybox", "sh"}}, shells...)

// args returns what to run: a shell of the container, or of the image mounted with it.
func (in *inside) args(ctx context.Context, c gateway.Container, mounts []gateway.Mount) ([]string, error) {
	if len(in.shell.Args) > 0 {
		return in.shell.Args, nil
	}
	for _, look := range []struct {
		at       string
		programs [][]string
	}{{"/", shells}, {WithAt, carried}} {
		i := slices.IndexFunc(mounts, func(m gateway.Mount) bool { return m.Dest == look.at })
		if i < 0 {
			continue
		}
		for _, shell := range look.programs {
			stat := gateway.StatRequest{Path: shell[0]}
			if _, err := c.StatFile(ctx, gateway.StatContainerRequest{StatRequest: stat, MountIndex: i}); err == nil {
				return append([]string{path.Join(look.at, shell[0])}, shell[1:]...), nil
			}
		}
	}
	return nil, &NoShellError{}
}

// addPath adds the folders of programs below prefix to the end of PATH.
func addPath(env []string, prefix string) []string {
	const name = "PATH="
	more := path.Join(prefix, "usr/bin") + ":" + path.Join(prefix, "bin")
	env = slices.Clone(env)
	for i, v := range env {
		if strings.HasPrefix(v, name) {
			env[i] = strings.TrimSuffix(v, ":") + ":" + more
			return env
		}
	}
	return append(env, name+"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"+more)
}
