//go:build !linux

package embedded

import (
	"context"
	"io"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
)

// ChildArg is for Linux.
const ChildArg = "__engine"

// ServeChild is for Linux.
func ServeChild(string) int { return 2 }

// varying returns nil: RUNs are varied on Linux.
func varying(string) func([]string, io.Reader, io.Writer) int { return nil }

// BuildID is for Linux, where engines tell builds of sx apart.
func BuildID() string { return "" }

// RuncInside is for Linux.
func RuncInside() string { return "" }

// Engine exists only on Linux.
type Engine struct {
	Dir, Runc, Snapshotter, Executable string
	Store                              *cache.Store
	CacheSize                          int64
	StandardGzip                       bool
	Vary                               []buildkit.Variation
	Waiting                            func()
	Log                                *zap.Logger
}

// Kind implements [buildkit.Engine].
func (e *Engine) Kind() string { return buildkit.EmbeddedKind }

var _ buildkit.Managed = (*Engine)(nil)

// errNotHere says that the embedded engine runs on Linux only.
var errNotHere = &buildkit.UnfitError{
	Problem: "the embedded engine runs on Linux only",
	Remedy:  "name one elsewhere, such as --engine ssh://HOST, docker or podman (docs/engines.md)",
}

// Connect implements [buildkit.Engine]: there is no such engine here.
func (e *Engine) Connect(context.Context) (*buildkit.Conn, error) { return nil, errNotHere }

// Status implements [buildkit.Managed]: it never runs, and holds nothing.
func (e *Engine) Status(context.Context) (*buildkit.Status, error) {
	return &buildkit.Status{Kind: e.Kind()}, nil
}

// Stop implements [buildkit.Managed]: it is stopped.
func (e *Engine) Stop(context.Context, bool) error { return nil }

// Clean implements [buildkit.Managed]: there is nothing to remove.
func (e *Engine) Clean(context.Context, bool) error { return nil }

// Logs implements [buildkit.Managed]: there are none.
func (e *Engine) Logs(context.Context, io.Writer) error { return errNotHere }

// Needs returns that there is no such engine here.
func (e *Engine) Needs() []buildkit.Need {
	return []buildkit.Need{{Name: "system", Err: errNotHere}}
}
