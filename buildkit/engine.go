package buildkit

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/moby/buildkit/client"
)

// Engine is where builds run: anything that yields a BuildKit client.
// Adding an engine is adding a way to dial.
type Engine interface {
	// Kind is one word for records and verdicts: "embedded", "docker", ….
	Kind() string
	// Connect dials, starting the engine first where that is needed. A
	// machine that cannot run it is an *UnfitError.
	Connect(ctx context.Context) (*Conn, error)
}

// EmbeddedKind is the Kind of the engine inside sx.
const EmbeddedKind = "embedded"

// Conn is a live connection to an engine. Its owner closes Client.
type Conn struct {
	Client *client.Client
	// ContentDir is the engine's own blob folder (<ContentDir>/<hex>) where
	// it lies on this machine, so that blobs can be hard-linked in and out
	// instead of travelling through the session; empty elsewhere.
	ContentDir string
	// Elsewhere is set where the connection may break, or fall silent, while the
	// engine and this machine are well.
	Elsewhere bool
	// Hides386 is set where the engine's list of platforms leaves out linux/386
	// because linux/amd64 is in it (moby: builder-next/worker, mergePlatforms).
	Hides386 bool
	// RuncLog is the file runc writes its errors to, empty where unknown.
	RuncLog string
	// ProbeFile keeps the answer to [Builder.Probe] of an engine that always
	// gives the same; empty: it is asked each time.
	ProbeFile string
	// UserNS: the engine is root of a user namespace only, as far as is known.
	UserNS bool

	moved *traffic // nil where nothing is counted
}

// Version is that of the BuildKit in this program, such as "v0.34.2".
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

// Sweeper is an [Engine] that may leave something behind on this machine when it is
// killed.
type Sweeper interface {
	// Sweep removes what a killed engine left behind, as far as that takes two seconds.
	Sweep()
}

// UnfitError says that this machine cannot run the engine, and the way out.
type UnfitError struct {
	Problem string // what is wrong
	Remedy  string // what the user can do
}

func (e *UnfitError) Error() string {
	return fmt.Sprintf("this machine cannot build: %s; %s", e.Problem, e.Remedy)
}

// EngineError says that an engine elsewhere cannot be used, and the way out.
type EngineError struct {
	Engine  string // its address, or "docker", "podman"
	Problem string
	Remedy  string
}

func (e *EngineError) Error() string {
	return fmt.Sprintf("the engine %s cannot be used: %s; %s", e.Engine, e.Problem, e.Remedy)
}

// EngineName names an engine for a person: by its address, where it has one, else by
// its kind.
func EngineName(e Engine) string {
	if s, ok := e.(fmt.Stringer); ok {
		return s.String()
	}
	return e.Kind()
}
