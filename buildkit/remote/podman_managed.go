package remote

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"codeberg.org/stagex/sx/buildkit"
)

var _ buildkit.Managed = (*Podman)(nil)

// Status implements [buildkit.Managed]. It counts the connections into the container as
// clients: each sx has one.
func (p *Podman) Status(ctx context.Context) (*buildkit.Status, error) {
	if err := findClient("podman"); err != nil {
		return nil, &buildkit.EngineError{Engine: "podman", Problem: err.Error(), Remedy: clientRemedy("podman")}
	}
	s := &buildkit.Status{Kind: p.Kind(), Place: "container " + p.name()}
	said, err := podman(ctx, "container", "inspect", "--format={{.State.Status}} {{.State.StartedAt.Unix}}", p.name())
	if noContainer(err) {
		return s, nil
	} else if err != nil {
		return nil, &buildkit.EngineError{Engine: "podman", Problem: err.Error(), Remedy: "make podman info work for this user"}
	}
	var state string
	var since int64
	if _, err := fmt.Sscan(said, &state, &since); err != nil {
		return nil, fmt.Errorf("reading what podman says of %s (%q): %w", p.name(), said, err)
	}
	if state != "running" {
		s.Unmeasured = "it is not running; see podman system df --verbose"
		return s, nil
	}
	// Podman's own list of exec sessions keeps those whose client was killed.
	processes, err := podman(ctx, "container", "top", p.name(), "args")
	if err != nil {
		return nil, fmt.Errorf("reading who uses %s: %w", p.name(), err)
	}
	s.Running, s.Since, s.Clients = true, time.Unix(since, 0), strings.Count(processes, "buildctl dial-stdio")
	return s, buildkit.FillStatus(ctx, p, s)
}

// Stop implements [buildkit.Managed].
func (p *Podman) Stop(ctx context.Context, force bool) error {
	if err := p.free(ctx, force); err != nil {
		return err
	}
	_, err := podman(ctx, "container", "stop", p.name())
	return unlessGone(err)
}

// Clean implements [buildkit.Managed]. It removes the container and its volume.
func (p *Podman) Clean(ctx context.Context, force bool) error {
	if err := p.free(ctx, force); err != nil {
		return err
	}
	if _, err := podman(ctx, "container", "rm", "--force", p.name()); unlessGone(err) != nil {
		return err
	}
	_, err := podman(ctx, "volume", "rm", p.name())
	return unlessGone(err)
}

// free returns an error if other sx use the container, unless force is set.
func (p *Podman) free(ctx context.Context, force bool) error {
	s, err := p.Status(ctx)
	if err == nil && s.Clients > 0 && !force {
		return &buildkit.BusyError{Clients: s.Clients}
	}
	return err
}

// Logs implements [buildkit.Managed].
func (p *Podman) Logs(ctx context.Context, w io.Writer) error {
	log, err := podman(ctx, "logs", p.name())
	if noContainer(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("reading the log of %s: %w", p.name(), err)
	}
	_, err = io.WriteString(w, log)
	return err
}

// noContainer reports whether err means that there is no such container or volume.
func noContainer(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "no such container") || strings.Contains(err.Error(), "no container with name") ||
		strings.Contains(err.Error(), "no such volume") || strings.Contains(err.Error(), "no volume with name"))
}

func unlessGone(err error) error {
	if noContainer(err) {
		return nil
	}
	return err
}
