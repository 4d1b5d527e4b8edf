package buildkit

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/client"
	"golang.org/x/sync/errgroup"
)

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
