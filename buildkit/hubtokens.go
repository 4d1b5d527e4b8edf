package buildkit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"

	sessionauth "github.com/moby/buildkit/session/auth"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tokens answers an engine that asks for credentials: with tokens for the hub's
// repository, never with a password, and for no other host. BuildKit lets the client ask
// the token server if the client has a key of its own (moby/buildkit: session/auth,
// util/resolver/authorizer.go); sx makes one for each session.
type tokens struct {
	sessionauth.UnimplementedAuthServer
	hub Hub
	key ed25519.PrivateKey
	log *zap.Logger
}

var _ sessionauth.AuthServer = (*tokens)(nil)

func newTokens(hub Hub, log *zap.Logger) (*tokens, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return &tokens{hub: hub, key: key, log: log}, err
}

// Register implements session.Attachable.
func (t *tokens) Register(server *grpc.Server) { sessionauth.RegisterAuthServer(server, t) }

// refuse returns the answer to a request that is refused. Unimplemented means to an engine
// that this client has no credentials: it goes on without any.
func (t *tokens) refuse(code codes.Code, host, what string) error {
	t.log.Warn("an engine was refused "+what, zap.String("registry", host))
	return status.Errorf(code, "sx gives an engine tokens for the hub's repository, and nothing else: not %s for %q", what, host)
}

// Credentials implements sessionauth.AuthServer by refusing.
func (t *tokens) Credentials(_ context.Context, req *sessionauth.CredentialsRequest) (*sessionauth.CredentialsResponse, error) {
	if req.Host == t.hub.Host() {
		return nil, t.refuse(codes.PermissionDenied, req.Host, "a password")
	}
	return nil, t.refuse(codes.Unimplemented, req.Host, "a password")
}

// FetchToken implements sessionauth.AuthServer. It ignores the token server that the
// engine names.
func (t *tokens) FetchToken(ctx context.Context, req *sessionauth.FetchTokenRequest) (*sessionauth.FetchTokenResponse, error) {
	if req.Host != t.hub.Host() {
		return nil, t.refuse(codes.PermissionDenied, req.Host, "a token")
	}
	token, life, refused, err := t.hub.Token(ctx, req.Scopes)
	for _, scope := range refused {
		t.log.Warn("an engine was refused a permission", zap.String("registry", req.Host), zap.String("scope", fmt.Sprintf("%.200q", scope)))
	}
	if err != nil {
		return nil, status.Error(codes.PermissionDenied, strings.ToValidUTF8(err.Error(), "?"))
	}
	return &sessionauth.FetchTokenResponse{Token: token, ExpiresIn: int64(life.Seconds())}, nil
}

// GetTokenAuthority implements sessionauth.AuthServer.
func (t *tokens) GetTokenAuthority(_ context.Context, req *sessionauth.GetTokenAuthorityRequest) (*sessionauth.GetTokenAuthorityResponse, error) {
	if req.Host != t.hub.Host() {
		return nil, t.refuse(codes.Unimplemented, req.Host, "a token")
	}
	return &sessionauth.GetTokenAuthorityResponse{PublicKey: t.key.Public().(ed25519.PublicKey)}, nil
}

// VerifyTokenAuthority implements sessionauth.AuthServer. The signature is followed by
// what is signed (NaCl: crypto_sign).
func (t *tokens) VerifyTokenAuthority(_ context.Context, req *sessionauth.VerifyTokenAuthorityRequest) (*sessionauth.VerifyTokenAuthorityResponse, error) {
	if req.Host != t.hub.Host() {
		return nil, t.refuse(codes.Unimplemented, req.Host, "a token")
	}
	return &sessionauth.VerifyTokenAuthorityResponse{Signed: append(ed25519.Sign(t.key, req.Payload), req.Payload...)}, nil
}
