package buildkit

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/worker/label"
	"golang.org/x/sync/errgroup"
)

// Managed is an engine that sx starts and stops. It starts by itself when it is needed.
type Managed interface {
	Engine
	// Status returns the engine's state without starting it.
	Status(ctx context.Context) (*Status, error)
	// Stop stops the engine and waits until it has ended. It succeeds if the engine does
	// not run. If others use it, the error is a *BusyError, unless force is set.
	Stop(ctx context.Context, force bool) error
	// Clean stops the engine and removes all its files.
	Clean(ctx context.Context, force bool) error
	// Logs writes, unescaped, what the engine logged since it was last started.
	Logs(ctx context.Context, w io.Writer) error
}

// Status is the state of an engine. It is printed as JSON, and only gains fields.
type Status struct {
	Name    string `json:"name,omitempty"` // in the user's settings
	Kind    string `json:"kind"`
	Running bool   `json:"running"`
	// For a running engine:
	Since       time.Time `json:"since,omitzero"`
	PID         int       `json:"pid,omitempty"` // on this machine
	Clients     int       `json:"clients"`       // how many sx are connected
	SX          string    `json:"sx,omitempty"`  // its build of sx
	BuildKit    string    `json:"buildkit,omitempty"`
	Runc        string    `json:"runc,omitempty"`
	Snapshotter string    `json:"snapshotter,omitempty"`
	Platforms   []string  `json:"platforms,omitempty"`
	// For any engine:
	Place string `json:"place,omitempty"` // its folder, container or address
	Log   string `json:"log,omitempty"`   // the file that it logs to, if any
	// Usage is its disk usage; Unmeasured is why that is unknown.
	Usage
	Unmeasured string `json:"unmeasured,omitempty"`
	// CacheSize is the maximum size of its cache after a build, 0 if unknown.
	CacheSize int64 `json:"cache_size,omitempty"`
}

// Usage is how much disk an engine takes.
type Usage struct {
	Bytes int64 `json:"bytes"`
	// Shared is the part of Bytes that is in blobs hard-linked with out/.
	Shared int64 `json:"shared"`
}

// BusyError means that an engine is in use.
type BusyError struct{ Clients int }

func (e *BusyError) Error() string {
	if e.Clients == 1 {
		return "another sx is using the engine"
	}
	return fmt.Sprintf("%d other sx are using the engine", e.Clients)
}

// Ask returns the status of any engine. It connects to one that sx does not manage.
func Ask(ctx context.Context, e Engine) (*Status, error) {
	if m, ok := e.(Managed); ok {
		return m.Status(ctx)
	}
	s := &Status{Kind: e.Kind(), Place: EngineName(e), Running: true}
	return s, FillStatus(ctx, e, s)
}

// FillStatus connects to an engine and sets the fields of s that the engine answers.
func FillStatus(ctx context.Context, e Engine, s *Status) error {
	conn, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Client.Close()
	ctx, cancel := context.WithTimeout(ctx, Silence) // adding up a large cache takes long
	defer cancel()
	info, err := conn.Client.Info(ctx)
	if err != nil {
		return fmt.Errorf("asking the engine for its version: %w", err)
	}
	s.BuildKit = info.BuildkitVersion.Version
	workers, err := conn.Client.ListWorkers(ctx)
	if err != nil {
		return fmt.Errorf("asking the engine for its workers: %w", err)
	}
	for _, w := range workers {
		s.Snapshotter = w.Labels[label.Snapshotter]
		s.Platforms = append(s.Platforms, conn.platforms(w)...)
	}
	used, err := conn.Client.DiskUsage(ctx)
	if err != nil {
		return fmt.Errorf("asking the engine for its disk usage: %w", err)
	}
	for _, u := range used {
		s.Bytes += u.Size
	}
	return nil
}

// Trim removes the least recently used results from the engine's cache until it has at
// most keep bytes, by the engine's own count; 0 empties it. Results that a running build
// uses are kept. Trim returns how many results were removed.
func Trim(ctx context.Context, engine Engine, keep int64) (forgotten int, err error) {
	conn, err := engine.Connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Client.Close()
	each := make(chan client.UsageInfo)
	var eg errgroup.Group
	eg.Go(func() error {
		defer close(each)
		return conn.Client.Prune(ctx, each, client.PruneAll, client.WithKeepOpt(0, 0, keep, 0))
	})
	for range each {
		forgotten++
	}
	if err := eg.Wait(); err != nil {
		return forgotten, fmt.Errorf("trimming the engine's cache: %w", err)
	}
	return forgotten, nil
}
