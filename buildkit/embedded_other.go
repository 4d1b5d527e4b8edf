//go:build !linux

package buildkit

import (
	"context"

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
func (e *Embedded) Kind() string { return "embedded" }

// Connect implements [Engine]: it says that there is no such engine here.
func (e *Embedded) Connect(context.Context) (*Conn, error) {
	return nil, &UnfitError{"the embedded engine runs on Linux only", "run sx on Linux"}
}
