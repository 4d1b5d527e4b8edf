package kubernetes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"codeberg.org/stagex/sx/buildkit"
)

// place is what an error is about: the engine's address, and its pod if there is one.
type place struct {
	engine    string
	cluster   *cluster
	namespace string
	pod       string // "" for the StatefulSet
}

// explain turns an error of a request or a connection into a *buildkit.EngineError.
func (p place) explain(err error) error {
	var known *buildkit.EngineError
	if errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	problem, remedy := p.refusal(err)
	if p.pod != "" {
		problem = "pod " + p.pod + ": " + problem
	}
	return &buildkit.EngineError{Engine: p.engine, Problem: problem, Remedy: remedy}
}

func (p place) refusal(err error) (problem, remedy string) {
	var (
		config *configError
		plugin *pluginError
		api    *apiError
		exit   *exitError
	)
	switch {
	case errors.As(err, &config):
		return "its cluster is not known: " + config.Error(), "check KUBECONFIG and ~/.kube/config, and the context in the address"
	case errors.As(err, &plugin):
		return "the program that the kubeconfig names for credentials gives none (" + plugin.Error() + ")", "run it by hand, and log in to the cluster again"
	case errors.As(err, &api):
		return p.apiRefusal(api)
	case errors.As(err, &exit):
		return p.exitRefusal(exit)
	}
	return p.networkRefusal(err)
}

// rights is where the rights that sx needs are listed.
const rights = "docs/kubernetes.md lists the rights that sx needs"

func (p place) apiRefusal(e *apiError) (problem, remedy string) {
	r, message := e.request, strings.TrimSpace(e.status.Message)
	switch e.status.Code {
	case http.StatusUnauthorized:
		return "the API server does not accept the credentials" + p.inContext(), "log in to the cluster again"
	case http.StatusForbidden:
		return r.forbidden(message)
	case http.StatusNotFound:
		if strings.HasPrefix(message, "namespaces ") {
			return fmt.Sprintf("there is no namespace %s", r.namespace), "make it (kubectl create namespace " + r.namespace + "), or name another"
		}
		return message, "check the address"
	case http.StatusUnprocessableEntity:
		return "the cluster refuses what sx makes: " + message, "change the options of the address"
	}
	return fmt.Sprintf("the API server refuses to %s %s: %s", r.verb, r.resource, message), "try again; see the cluster's own state"
}

// lacking matches the message about a right that an account lacks.
var lacking = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`User "([^"]*)" cannot (\w+) resource`) })

// forbidden explains a refusal by RBAC, or by a policy of the cluster.
func (r request) forbidden(message string) (problem, remedy string) {
	m := lacking().FindStringSubmatch(message)
	if m == nil {
		return fmt.Sprintf("the cluster forbids to %s %s in the namespace %s (%s)", r.verb, r.resource, r.namespace, message), "ask the people who run it; " + rights
	}
	return fmt.Sprintf("the account %s may not %s %s in the namespace %s", m[1], m[2], r.resource, r.namespace),
		fmt.Sprintf("have a Role give it the verb %s on %s; %s", m[2], r.resource, rights)
}

func (p place) inContext() string {
	if name := p.cluster.name(); name != "" {
		return " of the context " + name
	}
	return " of this pod's service account"
}

// noBuildctl reports an image that no waiting helps.
type noBuildctl struct{ error }

func (e *noBuildctl) Unwrap() error { return e.error }

func (e *exitError) lacksBuildctl() bool {
	text := e.said + e.status
	return strings.Contains(text, "buildctl") && (strings.Contains(text, "not found") || strings.Contains(text, "o such file"))
}

func (p place) exitRefusal(e *exitError) (problem, remedy string) {
	switch said := e.Error(); {
	case e.lacksBuildctl():
		return "there is no buildctl in the container (" + said + ")", "use an image with buildkitd and buildctl"
	case strings.Contains(said, "dial unix"):
		return "no buildkitd answers in the container (" + said + ")", "see its log: kubectl --namespace=" + p.namespace + " logs " + p.pod
	default:
		return "the connection ended: " + said, "try the same by hand: " + byHand(p.cluster.name(), p.namespace, p.pod)
	}
}

func (p place) networkRefusal(err error) (problem, remedy string) {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	const check = "check the kubeconfig's server, and what lies between (VPN, firewall)"
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name of the API server, %q, is not known", dns.Name), check
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at the API server's address", check
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "the API server does not answer in time", check
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid):
		return "the API server's certificate is not trusted (" + err.Error() + ")", "check the kubeconfig's certificate-authority and server"
	}
	return "no connection (" + buildkit.RootMessage(err) + ")", check
}
