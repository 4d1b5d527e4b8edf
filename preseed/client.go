package preseed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"go.uber.org/zap"
)

// Defaults of ClientOptions.
const (
	DefaultPerHost = 6
	DefaultConnect = 15 * time.Second
	DefaultHeader  = 30 * time.Second
	DefaultStall   = 30 * time.Second
	DefaultMinRate = 1 << 10
)

// ClientOptions says how to speak to registries. The zero value is ready.
type ClientOptions struct {
	PlainHTTP []string // hosts, with or without a port, that may be spoken to without TLS
	CAFile    string   // PEM, certificates to trust beside the system's; "" for none
	UserAgent string   // default "sx"
	PerHost   int      // requests at once to one registry, default DefaultPerHost

	Connect time.Duration // default DefaultConnect
	Header  time.Duration // from request to the answer's headers, default DefaultHeader
	Stall   time.Duration // a body without a byte for so long is broken, default DefaultStall
	MinRate int64         // bytes per second, averaged over twice Stall; default DefaultMinRate, negative: none

	// Keychain has the credentials; nil: those of docker login and podman login,
	// and of credential helpers.
	Keychain authn.Keychain
	// Warn is told what the user should know and what stops nothing; nil: nobody is.
	Warn func(text string)
	// OnQuota is told when a registry says how many pulls are left.
	OnQuota func(host string, q Quota)
	Log     *zap.Logger      // nil: none
	Now     func() time.Time // nil: time.Now
}

// Client speaks to registries. It is safe for concurrent use.
type Client struct {
	opts ClientOptions
	base *http.Transport

	mu       sync.Mutex
	hosts    map[string]*host
	helpless sync.Once // credentials that could not be had were told of
}

// host is what is known of one registry.
type host struct {
	slots chan struct{}
	guard *guard

	mu        sync.Mutex // held while the registry is asked how it authenticates
	challenge *transport.Challenge
}

// NewClient prepares a client and connects to nothing. An error is about CAFile.
func NewClient(o ClientOptions) (*Client, error) {
	o = o.withDefaults()
	pool, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone() // proxies from the environment
	t.DisableCompression = true
	t.DialContext = (&net.Dialer{Timeout: o.Connect, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = o.Connect
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	t.MaxIdleConnsPerHost = o.PerHost
	t.MaxResponseHeaderBytes = 256 << 10
	return &Client{opts: o, base: t, hosts: map[string]*host{}}, nil
}

func (o ClientOptions) withDefaults() ClientOptions {
	set(&o.UserAgent, "sx")
	set(&o.PerHost, DefaultPerHost)
	set(&o.Connect, DefaultConnect)
	set(&o.Header, DefaultHeader)
	set(&o.Stall, DefaultStall)
	set(&o.MinRate, DefaultMinRate)
	set(&o.Log, zap.NewNop())
	if o.Keychain == nil {
		o.Keychain = logins{os.Getenv}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.OnQuota == nil {
		o.OnQuota = func(string, Quota) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// roots are the system's certificates and those of file; nil for the system's alone.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading registries.ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading registries.ca_file: %q holds no PEM certificate", file)
	}
	return pool, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// host returns what is known of a registry.
func (c *Client) host(reg name.Registry) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[reg.RegistryStr()]
	if h == nil {
		h = &host{slots: make(chan struct{}, c.opts.PerHost), guard: c.newGuard(reg.RegistryStr())}
		c.hosts[reg.RegistryStr()] = h
	}
	return h
}

// name parses a repository's full name. go-containerregistry falls back to plain
// HTTP for private addresses by itself; the guard of each host does not let it.
func (c *Client) name(repository string) (name.Repository, error) {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err == nil && hostIn(c.opts.PlainHTTP, repo.RegistryStr()) {
		repo, err = name.NewRepository(repository, name.StrictValidation, name.Insecure)
	}
	return repo, err
}

// Remote are the options with which go-containerregistry's package remote (to
// push, say) speaks to a repository's registry as this client does: the same
// credentials, certificates, and refusal of plain HTTP and bad redirects. The
// repository comes back parsed accordingly.
func (c *Client) Remote(ctx context.Context, repository string) (name.Repository, []remote.Option, error) {
	repo, err := c.name(repository)
	if err != nil {
		return repo, nil, err
	}
	return repo, []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(c.opts.Keychain), remote.WithUserAgent(c.opts.UserAgent),
		remote.WithTransport(c.host(repo.Registry).guard), remote.WithJobs(c.opts.PerHost),
	}, nil
}
