package preseed

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// authorizer authenticates requests to one registry. It remembers the Authorization
// header for each scope. Requests to other hosts, such as after a redirect, get no
// credentials.
type authorizer struct {
	client *Client
	host   *host
	asking transfer.KeyedMutex[string] // by scope

	mu      sync.Mutex
	hint    []challenge       // the registry's first challenges, without scopes
	answers map[string]string // by scope, the value of Authorization
}

var _ http.RoundTripper = (*authorizer)(nil)

func newAuthorizer(c *Client, h *host) *authorizer {
	return &authorizer{client: c, host: h, answers: map[string]string{}}
}

// learn remembers the registry's challenges, so that later requests are authenticated
// without being refused first.
func (a *authorizer) learn(all []challenge) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.hint) > 0 {
		return
	}
	for _, c := range all {
		params := maps.Clone(c.params)
		delete(params, "scope") // differs from request to request
		a.hint = append(a.hint, challenge{c.scheme, params})
	}
}

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != a.host.registry.RegistryStr() {
		return a.host.transport.RoundTrip(req)
	}
	ctx := req.Context()
	scheme, err := a.host.reach(ctx)
	if err != nil {
		return nil, err
	}
	scope := scopeOf(req)
	header, err := a.ahead(ctx, scope)
	if err != nil {
		return nil, err
	}
	resp, err := a.send(req, scheme, header)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	all := parseChallenges(resp.Header)
	if len(all) == 0 || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return resp, nil
	}
	a.learn(all)
	again, err := a.answer(ctx, scope, all, header)
	if again == "" && err == nil {
		return resp, nil // there are no credentials to answer with
	}
	drain(resp)
	if err != nil {
		return nil, err
	}
	return a.send(req, scheme, again)
}

// send sends a copy of the request.
func (a *authorizer) send(req *http.Request, scheme, header string) (*http.Response, error) {
	body := req.Body
	if req.GetBody != nil {
		var err error
		if body, err = req.GetBody(); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.Body = scheme, body
	req.Header.Del("Authorization")
	if header != "" {
		req.Header.Set("Authorization", header)
	}
	return a.host.transport.RoundTrip(req)
}

// scope is the permission that a request needs.
type scope struct {
	repository string // without the host; "" if the request is for none
	actions    string // "pull", "pull,push"
	from       string // the repository that a blob is mounted from, or ""
}

// String returns one scope of the token protocol, or two separated by a space.
func (s scope) String() string {
	if s.repository == "" {
		return ""
	}
	text := "repository:" + s.repository + ":" + s.actions
	if s.from != "" {
		text += " repository:" + s.from + ":pull"
	}
	return text
}

func scopeOf(req *http.Request) scope {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	s := scope{actions: "pull", from: req.URL.Query().Get("from")}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		s.actions = "pull,push"
	}
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if repository, _, ok := strings.Cut(path, part); ok {
			s.repository = repository
			return s
		}
	}
	return s
}

// ahead returns the Authorization header for a request that has not been refused, from
// an earlier answer or the registry's first challenges.
func (a *authorizer) ahead(ctx context.Context, s scope) (string, error) {
	a.mu.Lock()
	header, ok := a.answers[s.String()]
	hint := a.hint
	a.mu.Unlock()
	if ok || len(hint) == 0 || s.repository == "" {
		return header, nil
	}
	_, isBearer := find(hint, "bearer")
	_, isBasic := find(hint, "basic")
	if !isBearer && !isBasic {
		return "", nil
	}
	return a.answer(ctx, s, hint, "")
}

// answer returns the Authorization header for the challenges; "" if the registry wants a
// password and none is known, or if only the refused header could be sent again. If
// several requests for a scope are refused at once, one of them asks the token server.
func (a *authorizer) answer(ctx context.Context, s scope, all []challenge, refused string) (string, error) {
	unlock, err := a.asking.Lock(ctx, s.String())
	if err != nil {
		return "", err
	}
	defer unlock()
	a.mu.Lock()
	header, ok := a.answers[s.String()]
	a.mu.Unlock()
	if ok && header != refused {
		return header, nil
	}
	cred := a.client.credentials(ctx, a.host.registry.RegistryStr(), s.repository)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	bearer, isBearer := find(all, "bearer")
	_, isBasic := find(all, "basic")
	switch {
	case cred.RegistryToken != "":
		header = "Bearer " + cred.RegistryToken
	case isBearer:
		token, err := a.token(ctx, bearer, s, cred)
		if err != nil {
			return "", err
		}
		header = "Bearer " + token.Value
	case isBasic:
		header = cred.basic()
	default:
		return "", transfer.Answerf("%s wants authentication by %s, which sx does not support (it supports Basic and Bearer)", a.host.registry.RegistryStr(), schemes(all))
	}
	if header == refused {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[s.String()] = header
	return header, nil
}

// basic returns the value of Authorization for c; "" without a user name and password.
func (c Credentials) basic() string {
	if c.Username == "" && c.Password == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// checkRealm refuses the URL of a token server that has credentials, or whose address is
// inside a network, unless the registry is there too. hostTransport refuses plain HTTP.
func (a *authorizer) checkRealm(u *url.URL) error {
	refuse := func(format string, args ...any) error {
		return transfer.Answerf("invalid realm of %s: "+format, append([]any{a.host.registry.RegistryStr()}, args...)...)
	}
	if err := transfer.CheckURL(u); err != nil {
		return refuse("%v", err)
	}
	if u.User != nil {
		return refuse("its URL has credentials")
	}
	own := hostname(a.host.registry.RegistryStr())
	if strings.EqualFold(u.Hostname(), own) {
		return nil
	}
	if there := addressKind(u.Hostname()); there > addressKind(own) {
		return refuse("%s is an address inside a network, which sx does not contact for a registry outside it", u.Hostname())
	}
	return nil
}

func (a *authorizer) tokenServer(realm string) (*url.URL, error) {
	u, err := url.Parse(realm)
	if err != nil || realm == "" {
		return nil, transfer.Answerf("%s wants a token, but does not name a token server (realm %q)", a.host.registry.RegistryStr(), shorten(realm))
	}
	return u, a.checkRealm(u)
}
