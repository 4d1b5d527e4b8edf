package buildkit

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/moby/buildkit/client"

	"codeberg.org/stagex/sx/buildkit/link"
)

// Engine is a place where builds run: anything that yields a connection to a BuildKit.
type Engine interface {
	// Kind is one word for records and verdicts: "embedded", "docker", ….
	Kind() string
	// Connect connects, and starts the engine first if necessary. If this machine
	// cannot run the engine, the error is an *UnfitError.
	Connect(ctx context.Context) (*Conn, error)
}

// Pool is an Engine that has several machines.
type Pool interface {
	Engine
	// Machines returns engines whose Connect reaches a machine of its own each, at most
	// width: so many builds can run at once.
	Machines(width int) []Engine
}

// Releaser is an Engine that is told when a run has ended, so that it can give machines
// back. All connections of the run are closed before.
type Releaser interface {
	Release(ctx context.Context) error
}

// EmbeddedKind is the Kind of the engine inside sx.
const EmbeddedKind = "embedded"

// Conn is a live connection to an engine. Its owner closes Client.
type Conn struct {
	Client *client.Client
	// ContentDir is the engine's blob folder (<ContentDir>/<hex>) if it is on this
	// machine: blobs are then hard-linked instead of sent through the session. Else "".
	ContentDir string
	// Elsewhere means that the connection may break or stall although the engine and
	// this machine work.
	Elsewhere bool
	// Hides386 means that the engine's list of platforms omits linux/386 if it has
	// linux/amd64 (moby: builder-next/worker, mergePlatforms).
	Hides386 bool
	// RuncLog is the file that runc writes its errors to; "" if unknown.
	RuncLog string
	// ProbeFile stores the result of [Builder.Probe] for an engine whose result does
	// not change; "": the engine is probed each time.
	ProbeFile string
	// UserNS means that the engine is known to be root only in a user namespace.
	UserNS bool

	moved *traffic   // nil if traffic is not counted
	link  *link.Link // nil of an engine on this machine
}

// Version returns the version of the BuildKit in this program, such as "v0.34.2".
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/moby/buildkit" {
				return m.Version
			}
		}
	}
	return "unknown"
}

// Sweeper is an [Engine] that may leave files or cgroups on this machine when it is
// killed.
type Sweeper interface {
	// Sweep removes what a killed engine left. It takes at most two seconds.
	Sweep()
}

// UnfitError means that this machine cannot run the engine.
type UnfitError struct {
	Problem string // in words
	Remedy  string // what the user can do
}

func (e *UnfitError) Error() string {
	return fmt.Sprintf("this machine cannot build: %s; %s", e.Problem, e.Remedy)
}

// EngineError means that an engine elsewhere cannot be used.
type EngineError struct {
	Engine  string // its address, or "docker", "podman"
	Problem string
	Remedy  string
}

func (e *EngineError) Error() string {
	return fmt.Sprintf("the engine %s cannot be used: %s; %s", e.Engine, e.Problem, e.Remedy)
}

// EngineName returns an engine's address if it has one, else its kind, for messages.
func EngineName(e Engine) string {
	if s, ok := e.(fmt.Stringer); ok {
		return s.String()
	}
	return e.Kind()
}
