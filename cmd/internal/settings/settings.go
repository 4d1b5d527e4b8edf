// Package settings reads what a person may decide about sx once instead of at every call: stagex.toml, the user's and the
// tree's, and the SX_* environment. sx never needs any of it.
//
// A value is taken from the first that gives it: flag, SX_* variable, user's file, tree's file, default. The tree may be
// the thing under audit, so its file may only describe its packages; a key that touches the machine, the
// engine, or who the user is to a server, is an error there.
//
// It refuses keys that it does not know, and values out of range, with file, line and the nearest known key; it reports
// all that is wrong at once. It does not read credentials, and no key names a program to run but engine.runc.
//
// Start at Load; the keys are the table in keys.go, and stagex.toml at the top of the repository explains each.
package settings

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"time"

	"codeberg.org/stagex/sx/fetch"
)

// FileName is what both files are called.
const FileName = "stagex.toml"

// Settings are all decided values, each valid.
type Settings struct {
	Build      Build
	Fetch      Fetch
	Registries Registries
	Release    Release
	Signatures Signatures
	Engine     Engine
	Paths      Paths
	Engines    map[string]NamedEngine // by name; nil if there are none
	Packages   map[string]Package     // by name; nil if there are none
}

// Build is about builds.
type Build struct {
	Jobs      int      // outputs built at once; 0: see OfMachine
	Memory    int64    // bytes that all builds at once may need, as far as that is known; 0: see OfMachine
	DiskFloor int64    // bytes that must be free for anything to start
	KeepGoing bool     // go on with what does not depend on a failure
	Platforms []string // of outputs whose definition forces none: "linux/amd64", in the order of their manifests
	Progress  string   // auto, plain, tty, rawjson or quiet
}

// Fetch is about the download of sources.
type Fetch struct {
	Jobs       int           // downloads at once, at least 1
	PerHost    int           // of these from one host, at least 1
	Retries    int           // further tries at one mirror before the next
	Stall      time.Duration // a mirror from which nothing came for so long is given up
	MaxFile    int64         // bytes one source may have
	MaxPartial int64         // bytes all unfinished downloads together may take
	UserAgent  string        // "" means sx/<version>
	From       string        // "oci://<host>/<repository>" that is asked before mirrors; "" for none
}

// Registries is about where published images come from. It names no credentials: those are docker login's and podman
// login's.
type Registries struct {
	Hosts     []string // where images are published, asked in this order
	Namespace string   // below each host
	Mirrors   []string // "<host>/<namespace>", asked after those
	Foreign   []string // hosts whose images definitions may be built from, by digest
	PlainHTTP []string // hosts that may be spoken to without TLS
	CAFile    string   // absolute path of certificates to trust beside the system's; "" for none
	PerHost   int      // requests at once to one registry, at least 1
}

// Release is about where releases are published.
type Release struct {
	Hosts []string // "<host>/<namespace>", published to in this order
}

// Signatures are about who must have signed an image. sx keys lists the keys that count.
type Signatures struct {
	Quorum int    // different people whose signature an image needs, at least 1
	From   string // where signatures are: an https URL, or the absolute path of a folder; "" for none
}

// Engine is about where builds run.
type Engine struct {
	Address string // "embedded", "docker", "podman", URLs and names of Engines, with blanks between them: see Selected
	// How to meet an engine at tcp://; "" if not set. Paths are absolute.
	TLSDir, TLSCACert, TLSCert, TLSKey, TLSServerName string
	Reconnect                                         time.Duration // an engine elsewhere that went away is waited for so long
	PodmanImage                                       string        // "" means BuildKit's own image
	Hub                                               string        // "oci://<host>/<repository>" that engines exchange images through; "" for none
	Results                                           string        // which images a run with a hub brings to out/: targets, all or none

	// Of the embedded engine:
	Runc        string // absolute path; "" means the runc of PATH, else the one inside sx
	Snapshotter string // auto, overlayfs or native
	Gzip        string // what compresses layers: sx, or go for the standard library
	CacheSize   int64  // bytes that the engine's cache keeps after a build
}

// Paths is about where things lie.
type Paths struct {
	State string // absolute path of a folder for the state of every tree; "" means .sx in each tree
}

// StateDir returns the state folder of the tree at an absolute path. Trees never share one.
func (p Paths) StateDir(tree string) string {
	if p.State == "" {
		return filepath.Join(tree, ".sx")
	}
	sum := sha256.Sum256([]byte(filepath.Clean(tree)))
	return filepath.Join(p.State, fmt.Sprintf("%s-%x", filepath.Base(tree), sum[:6]))
}

// Default returns the settings without any file, variable or flag.
func Default() Settings {
	return Settings{
		Build: Build{
			DiskFloor: 2 << 30, Platforms: []string{"linux/amd64"}, Progress: "auto",
		},
		Fetch: Fetch{
			Jobs: fetch.DefaultJobs, PerHost: fetch.DefaultPerHost, Retries: fetch.DefaultRetries,
			Stall: 30 * time.Second, MaxFile: fetch.DefaultMaxFile, MaxPartial: fetch.DefaultMaxPartial,
		},
		Registries: Registries{Hosts: []string{"docker.io", "quay.io"}, Namespace: "stagex", PerHost: 6},
		Signatures: Signatures{Quorum: 2},
		Engine:     Engine{Address: "embedded", Results: "targets", Reconnect: 5 * time.Minute, Snapshotter: "auto", Gzip: "sx", CacheSize: 50 << 30},
	}
}
