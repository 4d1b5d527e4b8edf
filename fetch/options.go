package fetch

import (
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Defaults of Options; sizes in bytes.
const (
	DefaultJobs       = 16
	DefaultPerHost    = 4
	DefaultMaxFile    = 8 << 30
	DefaultMaxPartial = 32 << 30
	DefaultStall      = 30 * time.Second
	DefaultConnect    = 15 * time.Second
	DefaultHeader     = 30 * time.Second
	DefaultMinRate    = 1 << 10
	DefaultRetries    = 3

	maxRedirects  = 10
	maxRetryAfter = 30 * time.Second // a mirror that asks for more is given up
	maxBackoff    = 30 * time.Second
)

// Options says how Run works. Only Tree is required.
type Options struct {
	Tree      string // the StageX checkout that Source.Path is relative to
	TempDir   string // partial files; default <Tree>/.sx/fetch; best on the tree's filesystem
	UserAgent string // default "sx"
	Offline   bool   // never touch the network nor move a wrong file; what is missing is an *OfflineError

	Jobs       int   // downloads at once, default DefaultJobs
	PerHost    int   // of these from one host, default DefaultPerHost
	MaxFile    int64 // largest file accepted, default DefaultMaxFile
	MaxPartial int64 // largest sum of what TempDir holds, default DefaultMaxPartial

	Stall          time.Duration // a body without a byte for so long is broken, default DefaultStall
	ConnectTimeout time.Duration // default DefaultConnect; not used with Transport
	HeaderTimeout  time.Duration // from request to response headers, default DefaultHeader
	MinRate        int64         // bytes per second, averaged over twice Stall; default DefaultMinRate, negative: none
	Retries        int           // further tries after a transient failure, default DefaultRetries, negative: none

	// Backoff is how long to wait before try n+1 (n from 0) where the server
	// did not say; default one second doubled each time, with jitter, at most 30 s.
	Backoff func(n int) time.Duration
	// First is asked before the mirrors of any source; nil: nothing is.
	First *First
	// Transport carries the requests, but for First's; default: proxies from the environment.
	Transport http.RoundTripper
	// Status is told about progress; nil: nobody is.
	Status Status
	// Sum is the sha256 of the regular file at path, possibly remembered; nil: read it.
	Sum func(path string) ([32]byte, error)
	Log *zap.Logger      // nil: none
	Now func() time.Time // nil: time.Now
}

func (o Options) withDefaults() Options {
	set(&o.UserAgent, "sx")
	set(&o.Jobs, DefaultJobs)
	set(&o.PerHost, DefaultPerHost)
	set(&o.MaxFile, DefaultMaxFile)
	set(&o.MaxPartial, DefaultMaxPartial)
	set(&o.Stall, DefaultStall)
	set(&o.ConnectTimeout, DefaultConnect)
	set(&o.HeaderTimeout, DefaultHeader)
	set(&o.MinRate, DefaultMinRate)
	set(&o.Retries, DefaultRetries)
	set(&o.Log, zap.NewNop())
	o.Retries = max(o.Retries, 0)
	if o.Backoff == nil {
		o.Backoff = exponential
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Status == nil {
		o.Status = silent{}
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// exponential is 1, 2, 4 … 30 seconds, each shortened by up to a quarter so
// that many clients do not come back at once.
func exponential(n int) time.Duration {
	wait := min(time.Second<<min(n, 10), maxBackoff)
	return wait - time.Duration(rand.Int64N(int64(wait/4)))
}
