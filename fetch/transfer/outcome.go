package transfer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Outcome is the consequence of a failure.
type Outcome int

// Outcomes of a failure.
const (
	Passes Outcome = iota // temporary: the same place may succeed later
	Final                 // this place will not succeed, another one may
	Ends                  // no place will succeed
)

// Patience is the longest Retry-After that is waited for. A server that asks for more is
// given up.
const Patience = 30 * time.Second

// rule is a row of the table; the first that matches decides.
type rule struct {
	matches func(error) bool
	outcome Outcome
	reason  string
}

var table = []rule{
	{is[*LocalError], Ends, "this machine cannot keep the bytes, wherever they come from"},
	{is[*HashError], Final, "a whole body of other bytes is another file, and the server has no other one"},
	{is[*SizeError], Final, "the file does not get smaller"},
	{is[*spoiledError], Final, "a server that sends what cannot become the file does so again"},
	{is[*rangeError], Passes, "the server may send the whole file"},
	{is[*AnswerError], Final, "a server that breaks the protocol does so again"},
	{is[*RedirectError], Final, "a redirect is the server's configuration"},
	{is[*NoNetworkError], Final, "no place is reached without a network"},
	{is[*TriedError], Final, "the request was repeated as often as it may be"},
	{busyForLong, Final, "the server wants not to be asked for longer than Patience"},
	{busy, Passes, "the server says that it is overloaded or out of order at the moment"},
	{is[*StatusError], Final, "the server refuses, and has understood the request"},
	{is[*tls.CertificateVerificationError], Final, "a certificate is the server's configuration"},
	{is[x509.HostnameError], Final, "a certificate is the server's configuration"},
	{is[tls.RecordHeaderError], Final, "the server does not use TLS there"},
	{noTLS, Final, "the server does not use TLS there"},
	{noSuchHost, Final, "DNS has answered that there is no such name"},
	{badURL, Final, "a URL does not change"},
	{func(error) bool { return true }, Passes,
		"the network has many ways to fail, and a transfer that ends early can be resumed"},
}

// OutcomeOf looks err up in the table.
func OutcomeOf(err error) Outcome { return ruleOf(err).outcome }

func ruleOf(err error) rule {
	for _, r := range table {
		if r.matches(err) {
			return r
		}
	}
	panic("transfer: internal error: the last rule does not match")
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func busy(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && busyStatus(e.Code)
}

func busyForLong(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && busyStatus(e.Code) && e.After > Patience
}

func busyStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return code >= 500
}

func noTLS(err error) bool { return errors.Is(err, http.ErrSchemeMismatch) }

func noSuchHost(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

func badURL(err error) bool {
	var e *url.Error
	return errors.As(err, &e) && e.Op == "parse"
}

// Cause returns the part of err that errors about other files and places with the same
// cause share: for a failed connection its last part, such as "network is unreachable",
// else the message with "…" for digests, addresses and quoted names. Errors with the same
// Cause can be printed as one line.
func Cause(err error) string {
	var op net.Error
	if errors.As(err, &op) {
		words := strings.Split(op.Error(), ": ")
		return words[len(words)-1]
	}
	return varies.ReplaceAllString(err.Error(), "…")
}

// varies matches the parts of a message that differ between errors of one cause.
var varies = regexp.MustCompile(`"[^"]*"|https?://[^\s"]+|(sha256:)?[0-9a-f]{64}`)

// Unreachable reports whether err means that a place cannot be reached: an unknown name,
// no route, a refused connection, no answer.
func Unreachable(err error) bool {
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*net.DNSError))
}
