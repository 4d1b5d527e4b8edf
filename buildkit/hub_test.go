package buildkit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/session"
	sessionauth "github.com/moby/buildkit/session/auth"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"codeberg.org/stagex/sx/cache/oci"
)

// fakeHub gives tokens, and has nothing.
type fakeHub struct{ asked []string }

var _ Hub = (*fakeHub)(nil)

func (*fakeHub) Host() string       { return "hub.example:5000" }
func (*fakeHub) Repository() string { return "hub.example:5000/hub" }
func (*fakeHub) PlainHTTP() bool    { return false }

func (h *fakeHub) Token(_ context.Context, scopes []string) (string, time.Duration, []string, error) {
	h.asked = append(h.asked, scopes...)
	if !strings.HasPrefix(scopes[0], "repository:hub:") {
		return "", 0, scopes, errors.New("only hub")
	}
	return "T", time.Minute, nil, nil
}

var errNone = errors.New("it has nothing")

func (*fakeHub) Tagged(context.Context, string) (oci.Digest, error) { return oci.Digest{}, errNone }
func (*fakeHub) Document(context.Context, oci.Descriptor) error     { return errNone }
func (*fakeHub) Has(context.Context, oci.Descriptor) error          { return errNone }
func (*fakeHub) Layer(context.Context, oci.Descriptor) error        { return errNone }

// An engine gets tokens for the hub, and no password and nothing for another host, of
// which the log tells.
func TestHubTokens(t *testing.T) {
	c := newCrafted(t)
	hub := &fakeHub{}
	core, logs := observer.New(zap.WarnLevel)
	h := &hostile{}
	var err error
	h.sessions, err = session.NewManager()
	must(t, err)
	b, err := Open(t.Context(), serve(t, h), Options{Store: c.store, Hub: hub, Log: zap.New(core)})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	h.solve = func(ctx context.Context, sx session.Caller) (answer ocispecs.Descriptor, err error) {
		auth := sessionauth.NewAuthClient(sx.Conn())
		for host, want := range map[string]codes.Code{hub.Host(): codes.PermissionDenied, "docker.io": codes.Unimplemented} {
			if resp, err := auth.Credentials(ctx, &sessionauth.CredentialsRequest{Host: host}); status.Code(err) != want || resp.GetSecret() != "" {
				t.Errorf("a password for %s: %v", host, err)
			}
		}
		own, err := auth.GetTokenAuthority(ctx, &sessionauth.GetTokenAuthorityRequest{Host: hub.Host()})
		if err != nil || len(own.PublicKey) != 32 {
			t.Errorf("the hub's authority: %v", err)
		}
		if _, err := auth.GetTokenAuthority(ctx, &sessionauth.GetTokenAuthorityRequest{Host: "docker.io"}); status.Code(err) != codes.Unimplemented {
			t.Errorf("another's authority: %v", err)
		}
		for _, req := range []*sessionauth.FetchTokenRequest{
			{Host: "docker.io", Realm: "https://auth.docker.io/token", Scopes: []string{"repository:hub:pull"}},
			{Host: hub.Host(), Scopes: []string{"repository:other:pull"}},
		} {
			if _, err := auth.FetchToken(ctx, req); status.Code(err) != codes.PermissionDenied {
				t.Errorf("a token for %s: %v", req, err)
			}
		}
		got, err := auth.FetchToken(ctx, &sessionauth.FetchTokenRequest{Host: hub.Host(), Realm: "https://evil.example/", Scopes: []string{"repository:hub:pull"}})
		if err != nil || got.Token != "T" || got.ExpiresIn != 60 {
			t.Errorf("a token for the hub: %v, %v", got, err)
		}
		return answer, errors.New("done")
	}
	if err := h.build(t, b); err == nil || !strings.Contains(err.Error(), "done") {
		t.Error(err)
	}
	if len(hub.asked) != 2 {
		t.Errorf("the hub was asked for %q", hub.asked)
	}
	if n := logs.Len(); n < 5 {
		t.Errorf("%d refusals were logged", n)
	}
}

func TestHubProblem(t *testing.T) {
	for said, want := range map[string]string{
		`failed to push hub.example:5000/hub:run-1: unexpected status from PUT request to https://hub.example:5000/v2/hub/blobs/uploads/x: 507 Insufficient Storage`:    "it is full",
		`failed to push hub.example:5000/hub:run-1: unexpected status from PATCH request: 413 Request Entity Too Large`:                                                 "refuses a layer of that size",
		`failed to push hub.example:5000/hub:run-1: server message: insufficient_scope: authorization failed`:                                                           "refuses the engine",
		`hub.example:5000/hub@sha256:0: failed to resolve source metadata for hub.example:5000/hub@sha256:0: not found`:                                                 "has lost an image",
		`failed to do request: Head "https://hub.example:5000/v2/hub/manifests/sha256:0": http: server gave HTTP response to HTTPS client`:                              `[registry."hub.example:5000"]`,
		`failed to do request: Head "https://hub.example:5000/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`:                   "does not trust its certificate",
		`failed to push hub.example:5000/hub:run-1: unexpected status from HEAD request to http://hub.example:5000/v2/hub/blobs/sha256:0: 400 Bad Request`:              `"http = false"`,
		`failed to copy: failed to do request: Get "https://hub.example:5000/v2/": dial tcp 10.0.0.1:5000: connect: connection refused`:                                 "cannot reach it",
		`failed commit on ref "layer-sha256:1": unexpected commit digest sha256:2, expected sha256:1: failed precondition`:                                              "served other bytes",
		`failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:1 (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found`: "has lost an image",
		`process "/bin/sh -c false" did not complete successfully: exit code: 1`:                                                                                        "",
		`failed to calculate checksum of ref x: "/a": not found`:                                                                                                        "",
	} {
		got := hubProblem(said, &fakeHub{})
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\nis explained by %q, want %q", said, got, want)
		}
	}
}
