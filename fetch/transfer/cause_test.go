package transfer

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

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
