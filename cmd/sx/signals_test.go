package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// What nohup started goes on when its terminal is gone; else that ends it.
func TestHangup(t *testing.T) {
	defer signal.Reset(syscall.SIGHUP)
	for name, want := range map[string]int{"nohup": exitInterrupt, "terminal": exitTerm} {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // else what was ignored stays so
		signal.Reset(syscall.SIGHUP)
		if name == "nohup" {
			signal.Ignore(syscall.SIGHUP)
		}
		ctx, stop := withSignals(context.Background())
		signals := []syscall.Signal{syscall.SIGHUP}
		if name == "nohup" {
			signals = append(signals, syscall.SIGINT) // two that are caught may arrive in any order
		}
		for _, sig := range signals {
			if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
		}
		<-ctx.Done()
		if got := exitCode(context.Cause(ctx)); got != want {
			t.Errorf("%s: exit code %d, want %d", name, got, want)
		}
		stop()
	}
}
