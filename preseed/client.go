package preseed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"net/http"
	"os"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"go.uber.org/zap"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// Defaults of ClientOptions.
const (
	DefaultPerHost = 6
)

// ClientOptions are the options of a Client. The zero value is usable.
type ClientOptions struct {
	PlainHTTP []string // hosts, with or without a port, that may be contacted without TLS
	OnlyTLS   bool     // refuses plain HTTP to this machine, too
	CAFile    string   // PEM file of certificates to trust besides the system's; "" for none
	UserAgent string   // default "sx"
	PerHost   int      // requests at once to one registry, default DefaultPerHost

	Limits transfer.Limits // how slow a registry may be

	// Keychain finds the credentials; nil: those of podman login and docker login,
	// including credential helpers.
	Keychain Keychain
	// Warn is called with warnings for the user; nil: none.
	Warn func(text string)
	// OnQuota is called with the number of pulls left, if an answer has it.
	OnQuota func(host string, q Quota)
	Log     *zap.Logger // nil: none
}

// Client sends requests to registries. It is safe for concurrent use.
type Client struct {
	opts ClientOptions
	base *http.Transport

	slots *transfer.Slots

	mu    sync.Mutex
	hosts map[string]*host
}

// NewClient returns a client without connecting. It fails only for CAFile.
func NewClient(o ClientOptions) (*Client, error) {
	o = o.withDefaults()
	pool, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	t := transfer.NewTransport(o.Limits, o.PerHost, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	return &Client{opts: o, base: t, slots: transfer.NewSlots(math.MaxInt, o.PerHost), hosts: map[string]*host{}}, nil
}

func (o ClientOptions) withDefaults() ClientOptions {
	transfer.Default(&o.UserAgent, "sx")
	transfer.Default(&o.PerHost, DefaultPerHost)
	transfer.Default(&o.Log, zap.NewNop())
	o.Limits = o.Limits.WithDefaults()
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Keychain == nil {
		o.Keychain = newLogins(os.Getenv, o.Warn)
	}
	if o.OnQuota == nil {
		o.OnQuota = func(string, Quota) {}
	}
	return o
}

// maxCAFile is the maximum size of registries.ca_file, in bytes; Debian's bundle of all
// CAs has 220 KB.
const maxCAFile = 4 << 20

// roots returns the system's certificates and those of file; nil for the system's alone.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := readRegular(file, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading registries.ca_file %q: %w", file, err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading registries.ca_file %q: it contains no PEM certificate", file)
	}
	return pool, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// Remote returns a repository and the options that make go-containerregistry's package
// remote use this client: its credentials, its certificates, and its refusal of plain
// HTTP and bad redirects.
func (c *Client) Remote(ctx context.Context, repository string) (name.Repository, []remote.Option, error) {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil {
		return repo, nil, err
	}
	// go-containerregistry uses a transport made from a token as it is.
	t, err := transport.FromToken(repo.Registry, authn.Anonymous, c.host(repo.Registry).auth, &transport.Challenge{}, &transport.Token{})
	return repo, []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(authn.Anonymous), remote.WithTransport(t), remote.WithJobs(c.opts.PerHost),
	}, err
}

// host returns the one host of a registry.
func (c *Client) host(reg name.Registry) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[reg.RegistryStr()]
	if h == nil {
		h = &host{registry: reg, transport: newHostTransport(c.base, c.opts, reg.RegistryStr())}
		h.auth = newAuthorizer(c, h)
		c.hosts[reg.RegistryStr()] = h
	}
	return h
}
