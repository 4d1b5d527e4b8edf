package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// drainKey is the context key of the [drain].
type drainKey struct{}

// withSignals cancels the context on SIGTERM, SIGHUP and the second SIGINT; on the first
// SIGINT if no command called [drainOf]. A third SIGINT exits at once. SIGHUP stays
// ignored if it was when sx started (nohup). SIGPIPE does not end sx: in `sx | tee`, a
// Ctrl-C ends tee, and running builds may still finish.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	d := &drain{first: make(chan struct{})}
	sigs := make(chan os.Signal, 3)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(sigs, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // writes fail instead

	go func() { // lives as long as the process
		interrupts := 0
		for sig := range sigs {
			if sig != syscall.SIGINT {
				cancel(signalError{exitTerm})
				continue
			}
			switch interrupts++; {
			case interrupts == 1 && d.wanted.Load():
				close(d.first)
			case interrupts <= 2:
				cancel(signalError{exitInterrupt})
			default:
				os.Exit(exitInterrupt)
			}
		}
	}()
	return context.WithValue(ctx, drainKey{}, d), func() { signal.Stop(sigs); cancel(nil) }
}

// drain lets the first Ctrl-C stop new work instead of cancelling what runs.
type drain struct {
	wanted atomic.Bool   // a command handles the first Ctrl-C itself
	first  chan struct{} // closed by the first Ctrl-C
}

// drainOf returns a channel that the first Ctrl-C closes. After the call that Ctrl-C
// does nothing else: the caller must handle it and inform the user.
func drainOf(ctx context.Context) <-chan struct{} {
	d, ok := ctx.Value(drainKey{}).(*drain)
	if !ok {
		return nil
	}
	d.wanted.Store(true)
	return d.first
}

// drained reports whether the first Ctrl-C has come.
func drained(drain <-chan struct{}) bool {
	select {
	case <-drain:
		return true
	default:
		return false
	}
}
