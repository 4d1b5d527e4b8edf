package transfer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{io.ErrUnexpectedEOF, Passes},
		{syscall.ECONNREFUSED, Passes},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, Passes},
		{&net.DNSError{IsTimeout: true}, Passes},
		{&net.DNSError{IsNotFound: true}, Final},
		{&StallError{What: "no byte"}, Passes},
		{&StatusError{Code: 408}, Passes},
		{&StatusError{Code: 425}, Passes},
		{&StatusError{Code: 429}, Passes},
		{&StatusError{Code: 429, After: Patience}, Passes},
		{&StatusError{Code: 429, After: Patience + time.Second}, Final},
		{&StatusError{Code: 502}, Passes},
		{&StatusError{Code: 503, After: time.Hour}, Final},
		{&StatusError{Code: 505}, Final},
		{&StatusError{Code: 511}, Final},
		{&StatusError{Code: 404}, Final},
		{&StatusError{Code: 302}, Final},
		{&TriedError{io.EOF}, Final},
		{&HashError{}, Final},
		{&SizeError{}, Final},
		{&AnswerError{}, Final},
		{&spoiledError{}, Final},
		{&rangeError{}, Passes},
		{&RedirectError{}, Final},
		{&LocalError{syscall.ENOSPC}, Ends},
		{&LocalError{&SizeError{}}, Ends},
		{&tls.CertificateVerificationError{Err: errors.New("expired")}, Final},
		{x509.HostnameError{}, Final},
		{tls.RecordHeaderError{}, Final},
		{&url.Error{Op: "parse", Err: errors.New("bad")}, Final},
		{errors.New("never heard of"), Passes},
	} {
		for _, err := range []error{c.err, fmt.Errorf("getting: %w", c.err)} {
			if got := OutcomeOf(err); got != c.want {
				t.Errorf("outcome of %T %v is %v, want %v, because %s", c.err, err, got, c.want, ruleOf(err).reason)
			}
		}
	}
	for i, r := range table {
		if r.reason == "" {
			t.Errorf("rule %d has no reason", i)
		}
	}
}

func TestCause(t *testing.T) {
	unreachable := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	for _, test := range []struct {
		err         error
		want        string
		unreachable bool
	}{
		{&url.Error{Op: "Get", URL: "https://a.example/x", Err: unreachable}, "network is unreachable", true},
		{fmt.Errorf("asking a: %w", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "a.example", IsNotFound: true}}), "no such host", true},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "dial udp 192.0.2.1:53: connect: network is unreachable", Name: "b.example"}}, "network is unreachable", true},
		{Attempts{{Place: "a", Reason: unreachable}, {Place: "b", Reason: unreachable}}, "network is unreachable", true},
		{fmt.Errorf("%q: HTTP status 404 for https://a.example/x", "core-a"), "…: HTTP status 404 for …", false},
		{errors.New("it does not have sha256:" + strings.Repeat("0a", 32)), "it does not have …", false},
	} {
		if got := Cause(test.err); got != test.want || Unreachable(test.err) != test.unreachable {
			t.Errorf("Cause(%v) = %q, want %q; unreachable %v", test.err, got, test.want, Unreachable(test.err))
		}
	}
}
