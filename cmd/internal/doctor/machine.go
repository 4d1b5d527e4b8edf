package doctor

import (
	"context"
	"io/fs"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/settings"
)

// Machine is the view of a machine that the lines are about. The functions are called at
// most once for each argument, concurrently, and end by their context.
type Machine struct {
	System string // "Linux 6.12.1, x86_64"
	Root   bool
	Files  fs.FS // the root of the filesystem; of it, only /proc and /sys are read
	Getenv func(string) string
	Now    func() time.Time
	Built  time.Time // when this sx was built; zero if unknown

	Settings settings.Settings
	Wrong    error    // why the settings are not those of the user's file
	Unknown  []string // variables that are no settings
	Memory   int64    // of the machine or of its cgroup, in bytes

	Tree    string // "" for none
	NoTree  error  // why there is none
	History func() error
	State   string                     // folder of sx's own files, which may be missing
	Store   func() error               // opens it, and makes it first if necessary
	Free    func(string) (Free, error) // of the filesystem of a folder
	Link    func(string) (Links, error)

	Engine  Engine
	Offline bool                                                                 // ask no server
	Dial    func(ctx context.Context, address string) error                      // connects by TCP
	Reach   func(ctx context.Context, host string) (time.Time, error)            // asks a registry for its clock
	Login   func(ctx context.Context, host string) (user string, wrong []string) // the credentials for a registry
	GPG     func(context.Context) (version string, err error)
}

// Free is the free space of a filesystem.
type Free struct {
	Bytes int64
	Files int64 // further files that it can hold; -1 if it does not count them
}

// Links says what a filesystem can do.
type Links struct {
	Hard     bool // give a file two names
	Exchange bool // swap two folders at once
}

// Engine is the engine that builds would run on.
type Engine struct {
	Name     string // for messages
	Embedded bool
	Needs    func() []buildkit.Need               // of the embedded engine
	Try      func(context.Context) (Trial, error) // see [Try]
}
