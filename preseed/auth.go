package preseed

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// authenticated returns the transport for requests to a repository that may do
// action ("pull", "pull,push"). A registry is asked once how it authenticates,
// and its token server once for each repository, because a token is for that.
func (c *Client) authenticated(ctx context.Context, repo name.Repository, action string) (http.RoundTripper, *transport.Challenge, error) {
	h := c.host(repo.Registry)
	challenge, err := h.ask(ctx, repo.Registry)
	if err != nil {
		return nil, nil, err
	}
	auth := c.credentials(ctx, repo)
	token, err := exchange(ctx, repo, auth, h.guard, challenge, action)
	if err != nil {
		return nil, nil, err
	}
	t, err := transport.FromToken(repo.Registry, auth, h.guard, challenge, token)
	return t, challenge, err
}

// ask pings the registry, once: GET /v2/ (distribution-spec, "Determining support").
func (h *host) ask(ctx context.Context, reg name.Registry) (*transport.Challenge, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.challenge != nil {
		return h.challenge, nil
	}
	challenge, err := transport.Ping(ctx, reg, h.guard)
	if err != nil {
		return nil, err
	}
	h.challenge = challenge
	return challenge, nil
}

// exchange gets a token where the registry wants one.
func exchange(ctx context.Context, repo name.Repository, auth authn.Authenticator, t http.RoundTripper,
	challenge *transport.Challenge, action string) (*transport.Token, error) {
	if strings.ToLower(challenge.Scheme) != "bearer" {
		return &transport.Token{}, nil
	}
	if config, err := authn.Authorization(ctx, auth); err == nil && config.RegistryToken != "" {
		return &transport.Token{Token: config.RegistryToken}, nil
	}
	token, err := transport.Exchange(ctx, repo.Registry, auth, t, []string{repo.Scope(action)}, challenge)
	if err == nil && token.Token == "" {
		token.Token = token.AccessToken
	}
	return token, err
}
