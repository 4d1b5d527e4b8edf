//go:build !linux

package buildkit

import (
	"context"
	"io"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache"
)

// ChildArg is for Linux.
const ChildArg = "__engine"

// ServeChild is for Linux.
func ServeChild(string) int { return 2 }

// BuildID is for Linux, where engines tell builds of sx apart.
func BuildID() string { return "" }

// RuncInside is for Linux.
func RuncInside() string { return "" }

// Embedded exists only on Linux.
type Embedded struct {
	Dir, Runc, Snapshotter, Executable string
	Store                              *cache.Store
	CacheSize                          int64
	Waiting                            func()
	Log                                *zap.Logger
}

// Kind implements [Engine].
func (e *Embedded) Kind() string { return embeddedKind }

var _ Managed = (*Embedded)(nil)

// errNotHere is the answer to whoever wants such an engine.
var errNotHere = &UnfitError{"the embedded engine runs on Linux only", "name one elsewhere, such as --engine ssh://HOST, docker or podman (docs/engines.md)"}

// Connect implements [Engine]: there is no such engine here.
func (e *Embedded) Connect(context.Context) (*Conn, error) { return nil, errNotHere }

// Status implements [Managed]: it never runs, and holds nothing.
func (e *Embedded) Status(context.Context) (*Status, error) { return &Status{Kind: e.Kind()}, nil }

// Stop implements [Managed]: it is stopped.
func (e *Embedded) Stop(context.Context, bool) error { return nil }

// Clean implements [Managed]: there is nothing to remove.
func (e *Embedded) Clean(context.Context, bool) error { return nil }

// Logs implements [Managed]: there are none.
func (e *Embedded) Logs(context.Context, io.Writer) error { return errNotHere }
