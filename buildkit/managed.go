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

// Managed is an engine whose life sx decides on: it starts by itself when it is
// needed, so only its end and its traces are anybody's business.
type Managed interface {
	Engine
	// Status looks at the engine and never starts it.
	Status(ctx context.Context) (*Status, error)
	// Stop ends it and waits for the end. A stopped one is no error. Where others
	// use it, it is a *BusyError unless force is set.
	Stop(ctx context.Context, force bool) error
	// Clean stops it and removes all that it holds on disk.
	Clean(ctx context.Context, force bool) error
	// Logs writes what it logged in its last life, as it was logged: escaping is
	// the caller's.
	Logs(ctx context.Context, w io.Writer) error
}

// Status is what is known of an engine. It is printed as JSON, and only gains
// fields.
type Status struct {
	Kind    string `json:"kind"`
	Running bool   `json:"running"`
	// Of a running one:
	Since       time.Time `json:"since,omitzero"`
	PID         int       `json:"pid,omitempty"` // on this machine
	Clients     int       `json:"clients"`       // how many sx are connected
	SX          string    `json:"sx,omitempty"`  // build id of the sx that it is
	BuildKit    string    `json:"buildkit,omitempty"`
	Runc        string    `json:"runc,omitempty"`
	Snapshotter string    `json:"snapshotter,omitempty"`
	Platforms   []string  `json:"platforms,omitempty"`
	// Of any:
	Place string `json:"place,omitempty"` // its folder, container or address
	Log   string `json:"log,omitempty"`   // the file, where it is one
	// Usage is what it holds on disk; Unmeasured is why that is not known.
	Usage
	Unmeasured string `json:"unmeasured,omitempty"`
	// CacheSize bounds what it keeps of that after a build, 0 for unknown.
	CacheSize int64 `json:"cache_size,omitempty"`
}

// Usage is how much disk an engine takes.
type Usage struct {
	Bytes int64 `json:"bytes"`
	// Shared of these are blobs that out/ has too, by hard link.
	Shared int64 `json:"shared"`
}

// BusyError says that an engine is in use.
type BusyError struct{ Clients int }

func (e *BusyError) Error() string {
	if e.Clients == 1 {
		return "another sx is using the engine"
	}
	return fmt.Sprintf("%d other sx are using the engine", e.Clients)
}

// Ask returns the status of any engine. One that sx does not manage is dialled.
func Ask(ctx context.Context, e Engine) (*Status, error) {
	if m, ok := e.(Managed); ok {
		return m.Status(ctx)
	}
	s := &Status{Kind: e.Kind(), Place: EngineName(e), Running: true}
	return s, FillStatus(ctx, e, s)
}

// FillStatus fills in what an engine that is dialled tells.
func FillStatus(ctx context.Context, e Engine, s *Status) error {
	conn, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Client.Close()
	ctx, cancel := context.WithTimeout(ctx, Silence) // a large cache is added up
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

// Trim has the engine forget what it used least lately until its cache holds at
// most keep bytes, by its own count; 0 empties it. What a running build uses
// stays. It returns how many results it forgot.
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
