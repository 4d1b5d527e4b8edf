package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"codeberg.org/stagex/sx/buildkit"
)

// refusal is why an engine could not be reached, for the user, and the remedy.
type refusal struct{ problem, remedy string }

// explain turns what [buildkit.Connect] returned into an *EngineError.
func (r *Buildkitd) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var why refusal
	switch exit, said, ok := clientExit(err); {
	case ok:
		why = r.clientRefusal(exit, said)
	default:
		why = r.networkRefusal(err)
	}
	return &buildkit.EngineError{Engine: r.address, Problem: why.problem, Remedy: why.remedy}
}

// networkRefusal explains errors of unix:// and tcp://.
func (r *Buildkitd) networkRefusal(err error) refusal {
	if why, ok := tlsRefusal(err); ok {
		return why
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return refusal{fmt.Sprintf("the name %q is not known", dns.Name), "check the address"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return refusal{"nothing listens there", "start buildkitd there, or check the address"}
	case errors.Is(err, os.ErrNotExist):
		return refusal{"there is no such socket", "start buildkitd there, or check the address"}
	case errors.Is(err, os.ErrPermission):
		return refusal{"this user may not open the socket", "run sx as a user who may; buildkitd --group gives its socket to a group"}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return refusal{"it does not answer", "check the address, and what lies between (firewall, VPN)"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return refusal{"there is no route to it", "check the address, and this machine's network"}
	case status.Code(err) == codes.Unimplemented:
		return refusal{"it answers gRPC, but is not BuildKit, or is older than 0.11", "use BuildKit 0.26 or newer"}
	}
	return refusal{"it does not answer like BuildKit (" + buildkit.RootMessage(err) + ")", r.talkRemedy()}
}

func (r *Buildkitd) talkRemedy() string {
	if r.scheme == "tcp" {
		return "check that a buildkitd listens at that port; one that wants TLS needs --tlscacert, --tlscert and --tlskey"
	}
	return "check that it is a buildkitd"
}

// tlsRefusal explains errors of TLS; ok is false for other errors.
func tlsRefusal(err error) (refusal, bool) {
	var (
		files     *tlsFileError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch m := err.Error(); {
	case errors.As(err, &files):
		return refusal{files.Error(), "see --tlsdir, --tlscacert, --tlscert and --tlskey in sx build --help"}, true
	case errors.As(err, &authority):
		return refusal{"its certificate is signed by an authority that is not trusted here", "name the authority's certificate with --tlscacert"}, true
	case errors.As(err, &name):
		return refusal{fmt.Sprintf("its certificate is for %s, not for %s", certificateNames(name.Certificate), name.Host), "name what the certificate is for with --tlsservername"}, true
	case errors.As(err, &invalid):
		return refusal{"its certificate is not valid (" + invalid.Error() + ")", "renew it, or set the clock"}, true
	case errors.As(err, &record):
		return refusal{"it does not use TLS", "leave out the tls settings, or start buildkitd with --tlscert, --tlskey and --tlscacert"}, true
	case strings.Contains(m, "remote error: tls: certificate required"):
		return refusal{"it wants a client certificate", "give one with --tlscert and --tlskey"}, true
	case strings.Contains(m, "remote error: tls: "):
		_, alert, _ := strings.Cut(m, "remote error: tls: ")
		return refusal{"it refuses the client certificate (" + alert + ")", "use one that the authority of buildkitd's --tlscacert signed"}, true
	}
	return refusal{}, false
}

func certificateNames(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host at all"
	}
	return strings.Join(names, ", ")
}

// exited matches the error of docker/cli's commandconn for a program that ended.
var exited = regexp.MustCompile(`(?s) has exited with (exit status \d+|signal: \w+).*?: stderr=(.*)$`)

// clientExit returns the exit status of a client program and the last line of its stderr.
func clientExit(err error) (exit, said string, ok bool) {
	m := exited.FindStringSubmatch(err.Error())
	if m == nil {
		return "", "", false
	}
	return m[1], lastLine(m[2]), true
}

// clientRefusal explains the message of a client program that ended. ssh, docker and
// podman write their own errors, and those of the shell and buildctl at the other end, to
// one stream.
func (r *Buildkitd) clientRefusal(exit, said string) refusal {
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(said, t) {
				return true
			}
		}
		return false
	}
	problem := r.client + " says: " + said
	if said == "" {
		problem = r.client + " ended without a message (" + exit + ")"
	}
	switch {
	case has("buildctl") && has("not found", "No such file", "no such file"):
		return refusal{"there is no buildctl at the other end (" + problem + ")", "install it there, in the PATH of " + r.farPath()}
	case has("dial unix"):
		return refusal{"there is no buildkitd at the other end that this user may connect to (" + problem + ")", r.socketRemedy()}
	case has("Host key verification failed", "REMOTE HOST IDENTIFICATION"):
		return refusal{problem, "log in once by hand and check the host's key: ssh " + r.target()}
	case has("Permission denied", "Too many authentication failures"):
		return refusal{problem, "set up a login without a password, by a key or an agent: ssh " + r.target()}
	}
	return refusal{problem, "try the same by hand: " + r.byHand()}
}

// target returns the host, container or pod, in the form of the client program.
func (r *Buildkitd) target() string {
	u, err := url.Parse(r.address)
	switch {
	case err != nil:
		return r.address
	case r.client != "ssh":
		return u.Host
	}
	target := u.Hostname()
	if u.User != nil {
		target = u.User.Username() + "@" + target
	}
	if u.Port() != "" {
		target = "-p " + u.Port() + " " + target
	}
	return target
}

func (r *Buildkitd) byHand() string {
	switch r.client {
	case "ssh":
		return "ssh " + r.target() + " buildctl debug workers"
	}
	return r.client + " exec -i " + r.target() + " buildctl debug workers"
}

func (r *Buildkitd) farPath() string {
	if r.client == "ssh" {
		return "a login without a terminal (ssh " + r.target() + " command -v buildctl)"
	}
	return "the container"
}

func (r *Buildkitd) socketRemedy() string {
	switch r.client {
	case "ssh":
		return "start it there, let the login's user open its socket (buildkitd --group), or name another socket: ssh://HOST/PATH"
	}
	return "see why it does not run: " + r.client + " logs " + r.target()
}
