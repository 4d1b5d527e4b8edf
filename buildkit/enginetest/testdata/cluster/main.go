//go:build linux

// Cluster runs a Kubernetes cluster of two nodes from a folder that scripts/kubernetes
// filled, until it is interrupted or its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	nodes := 2
	if len(args) == 2 {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		nodes = n
	} else if len(args) != 1 {
		return fmt.Errorf("usage: cluster PROGRAMS [NODES]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "sx-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	c, err := cluster.Start(ctx, args[0], dir, nodes)
	if err != nil {
		return err
	}
	fmt.Printf("%d nodes are ready after %.1f s\nexport KUBECONFIG=%s PATH=%s:$PATH\nimage: %s\n", nodes, time.Since(began).Seconds(), c.Kubeconfig, args[0], cluster.BuildKit)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	<-ctx.Done()
	return c.Close()
}
