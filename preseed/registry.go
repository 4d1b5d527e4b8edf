package preseed

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Registry is a place where images are published: a host and a namespace in it, "" for
// the whole host.
type Registry struct{ Host, Namespace string }

// ParseRegistry parses "<host>/<namespace>", such as "docker.io/stagex". The host must
// have a dot or a port, or be localhost: else "stagex/core" would silently mean Docker
// Hub.
func ParseRegistry(s string) (Registry, error) {
	host, namespace, ok := strings.Cut(s, "/")
	if !ok || host == "" || namespace == "" || strings.Contains(s, "://") {
		return Registry{}, fmt.Errorf("registry %q: want <host>/<namespace>, such as %q", s, "docker.io/stagex")
	}
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return Registry{}, fmt.Errorf("registry %q: %q is not a host; write docker.io/%s if Docker Hub is meant", s, host, s)
	}
	r := Registry{host, namespace}
	if _, err := name.NewRepository(r.Repository("x"), name.StrictValidation); err != nil {
		return Registry{}, fmt.Errorf("registry %q: %w", s, err)
	}
	return r, nil
}

// String returns the form that ParseRegistry reads.
func (r Registry) String() string {
	if r.Namespace == "" {
		return r.Host
	}
	return r.Host + "/" + r.Namespace
}

// Repository returns the full name of a repository of the namespace.
func (r Registry) Repository(output string) string { return r.String() + "/" + output }

// tagPattern is the pattern of distribution-spec, "Pulling manifests", without the length.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// maxTag is the maximum length of a tag. It is not in the pattern, because compiling
// that would slow down every start of sx.
const maxTag = 128

// CheckTag returns an error if s is not a valid tag of a repository.
func CheckTag(s string) error {
	if len(s) > maxTag || !tagPattern.MatchString(s) {
		return fmt.Errorf("%q is not a tag: want up to 128 letters, digits, '.', '_' and '-', not starting with '.' or '-'", s)
	}
	return nil
}

// hostname returns a host without its port and brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

// isLoopback reports whether host, with or without a port, is this machine.
func isLoopback(host string) bool {
	host = hostname(host)
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// addressKind orders hosts by the damage that a request to them could do if a stranger
// chose the host: 0 for names and public addresses, 1 for addresses of this machine and
// its networks, 2 for link-local addresses (cloud metadata) and for malformed ones,
// which some resolvers accept.
func addressKind(host string) int {
	addr, err := netip.ParseAddr(host)
	last := host[strings.LastIndex(host, ".")+1:]
	switch addr = addr.Unmap(); {
	case err != nil && (last == "" || last[0] >= '0' && last[0] <= '9'):
		return 2
	case err != nil && !strings.EqualFold(host, "localhost"):
		return 0
	case err != nil, addr.IsLoopback(), addr.IsPrivate():
		return 1
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast(), addr.IsUnspecified():
		return 2
	}
	return 0
}

// sameHost reports whether said, as a user wrote it, is host. Without a port, said
// matches any port.
func sameHost(said, host string) bool {
	if strings.EqualFold(said, host) {
		return true
	}
	bare, _, err := net.SplitHostPort(host)
	return err == nil && strings.EqualFold(said, bare)
}

func hostIn(list []string, host string) bool {
	return slices.ContainsFunc(list, func(said string) bool { return sameHost(said, host) })
}
