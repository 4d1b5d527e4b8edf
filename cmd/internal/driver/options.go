package driver

import (
	"io"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
)

// Options are the options of [Build].
type Options struct {
	Platforms []string // the user's choice; empty: linux/amd64
	NoCache   bool     // build the targets even if they are up to date, without the engine's cache
	Rebuild   bool     // the same, with the engine's cache
	// Substitution lets published images be used instead of building dependencies;
	// nil: everything is built from source.
	Substitution *plan.Substitution
	// FromSource warns of how many outputs a build without Substitution builds.
	FromSource bool
	Foreign    Foreign // how to pull images of other registries
	KeepGoing  bool    // after a failure go on with outputs that do not depend on it
	Offline    bool    // download nothing, and give no RUN a network
	// Capacity is called when something must be built; nil means one job and no limit of
	// memory.
	Capacity func() schedule.Capacity
	// DiskFloor is how many bytes must be free on the filesystem of out/ for a step to
	// start.
	DiskFloor int64
	// Hub is the registry through which engines elsewhere exchange images; nil: images
	// pass through this machine.
	Hub *Hub
	// Engines are where builds run, at least one. Several share the outputs.
	Engines []fleet.Member
	// OnEach lets every output be built on each of Engines, with equal results, instead of
	// on one of them: see [DifferError]. Targets are built even if they are up to date,
	// unless their record names all.
	OnEach bool
	// Bindings say which of several engines may build an output.
	Bindings fleet.Bindings
	// Reconnect is how long to try to reach an engine elsewhere that went away, if no other
	// is left.
	Reconnect time.Duration
	// Home is the checkout whose downloads, timings and logs are used if results go
	// elsewhere, see [tree.Tree.Apart]; nil: the tree that is built.
	Home *tree.Tree
	// Machine is recorded with what the embedded engine builds; the zero Machine is not.
	Machine cache.Machine
	// Varied says that the engine lets a RUN see something else than in other builds: what
	// its builds took is not recorded as what they take.
	Varied bool
	// Version is the version and build of sx, for records: only a record of the same
	// build saves probing the engine.
	Version string
	Fetch   fetch.Options // how to download; the run sets the paths
	Status  Status
	// Drain, when closed, lets running builds finish and starts no other.
	Drain <-chan struct{}
	// Escape wraps a log so that the output of a build cannot control a terminal or a CI
	// system. Closing it flushes, and leaves the log open.
	Escape func(io.Writer) io.WriteCloser
	Now    func() time.Time
	// Span returns the span of an output, below which engines put theirs, see
	// [buildkit.Job].Span; nil if there is no trace.
	Span func(output string) string
	// Spans receives those of the embedded engine; nil if there is no trace.
	Spans buildkit.Spans

	dial func(fleet.Member) (builder, error) // in the place of [buildkit.Open]; nil but in tests
}
