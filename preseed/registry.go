package preseed

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Registry is where images are published: a host, and a namespace in it.
type Registry struct{ Host, Namespace string }

// ParseRegistry parses "<host>/<namespace>", such as "docker.io/stagex". The host
// must look like one (a dot, a port, or localhost): elsewhere "stagex/core" would
// silently mean Docker Hub.
func ParseRegistry(s string) (Registry, error) {
	host, namespace, ok := strings.Cut(s, "/")
	if !ok || host == "" || namespace == "" || strings.Contains(s, "://") {
		return Registry{}, fmt.Errorf("registry %q: want <host>/<namespace>, such as %q", s, "docker.io/stagex")
	}
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return Registry{}, fmt.Errorf("registry %q: %q is no host; write docker.io/%s if Docker Hub is meant", s, host, s)
	}
	r := Registry{host, namespace}
	if _, err := name.NewRepository(r.Repository("x"), name.StrictValidation); err != nil {
		return Registry{}, fmt.Errorf("registry %q: %w", s, err)
	}
	return r, nil
}

// String is ParseRegistry's inverse.
func (r Registry) String() string { return r.Host + "/" + r.Namespace }

// Repository is the full name of a repository of the namespace.
func (r Registry) Repository(output string) string { return r.String() + "/" + output }

// tagPattern is distribution-spec's, "Pulling manifests".
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// maxTag is how many characters a tag may have. (In the pattern it would make each
// start of sx compile a large one.)
const maxTag = 128

// CheckTag says why s is no tag of a repository.
func CheckTag(s string) error {
	if len(s) > maxTag || !tagPattern.MatchString(s) {
		return fmt.Errorf("%q is no tag: want up to 128 of letters, digits, . _ -, not beginning with . or -", s)
	}
	return nil
}

// isLoopback reports whether host, with or without a port, is this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// sameHost compares hosts as a user writes them: a port counts where one is said.
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
