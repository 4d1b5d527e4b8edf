package fetch

import (
	"net/http"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"go.uber.org/zap"
)

// Defaults of Options; sizes in bytes.
const (
	DefaultJobs       = 16
	DefaultPerHost    = 4
	DefaultMaxFile    = 8 << 30
	DefaultMaxPartial = 32 << 30
	DefaultRetries    = 3
)

// Options are the options of Run. Only Tree is required.
type Options struct {
	Tree      string // the StageX checkout that Source.Path is relative to
	TempDir   string // partial files; default <Tree>/.sx/fetch; best on the tree's filesystem
	UserAgent string // default "sx"
	Offline   bool   // never touch the network nor move a wrong file; missing sources are an *OfflineError

	Jobs       int   // downloads at once, default DefaultJobs
	PerHost    int   // of these from one host, default DefaultPerHost
	MaxFile    int64 // largest file accepted, default DefaultMaxFile
	MaxPartial int64 // largest sum of what TempDir holds, default DefaultMaxPartial

	Limits  transfer.Limits // how slow a mirror may be; Limits.Connect is not used with Transport
	Retries int             // further tries after a temporary failure, default DefaultRetries, negative: none

	// Backoff returns how long to wait before try n+1 (n from 0), unless the server
	// says; default transfer.Exponential.
	Backoff func(n int) time.Duration
	// First is asked before the mirrors of any source; nil: none.
	First *First
	// Transport carries the requests, except those of First; default: one with proxies
	// from the environment.
	Transport http.RoundTripper
	// Status receives progress; nil: none.
	Status Status
	// Sum returns the sha256 of the regular file at path, possibly from memory; nil: it
	// is read.
	Sum func(path string) ([32]byte, error)
	Log *zap.Logger // nil: none
}

func (o Options) withDefaults() Options {
	transfer.Default(&o.UserAgent, "sx")
	transfer.Default(&o.Jobs, DefaultJobs)
	transfer.Default(&o.PerHost, DefaultPerHost)
	transfer.Default(&o.MaxFile, DefaultMaxFile)
	transfer.Default(&o.MaxPartial, DefaultMaxPartial)
	o.Limits = o.Limits.WithDefaults()
	transfer.Default(&o.Retries, DefaultRetries)
	transfer.Default(&o.Log, zap.NewNop())
	o.Retries = max(o.Retries, 0)
	if o.Backoff == nil {
		o.Backoff = transfer.Exponential
	}
	return o
}

// Values of how in Status.Done.
const (
	Present = "present" // was present, verified
	Fetched = "fetched"
	Linked  = "linked" // from another path with the same hash
)

// Status receives the progress of Run. A failure with mirror "" is a Failure or, offline,
// a Missing.
type Status = transfer.Status[Source]

type progress = transfer.Progress[Source]
