package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// drainKey finds the channel that closes at the first Ctrl-C.
type drainKey struct{}

// withSignals ends the context at the second SIGINT, or at the first where no
// command asked to drain, and at SIGTERM and SIGHUP; a third SIGINT exits at once.
// SIGHUP stays ignored where it was when sx started, which is all that nohup does.
// SIGPIPE ends nothing: a Ctrl-C ends the tee behind sx too, and what runs may finish.
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

type drain struct {
	wanted atomic.Bool
	first  chan struct{}
}

// drainOf returns the channel of the first Ctrl-C; from then on that signal
// only closes it, and the caller tells the user.
func drainOf(ctx context.Context) <-chan struct{} {
	d, ok := ctx.Value(drainKey{}).(*drain)
	if !ok {
		return nil
	}
	d.wanted.Store(true)
	return d.first
}

// drained reports that the first Ctrl-C came.
func drained(drain <-chan struct{}) bool {
	select {
	case <-drain:
		return true
	default:
		return false
	}
}
