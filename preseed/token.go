package preseed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// maxToken is the maximum size of a token server's answer, in bytes.
const maxToken = 64 << 10

// token asks the token server of a challenge for a token (distribution's token
// protocol): with a refresh token by POST (OAuth 2), else by GET. If the server does not
// support that method, the other is tried.
func (a *authorizer) token(ctx context.Context, c challenge, s scope, cred Credentials) (Token, error) {
	realm, err := a.tokenServer(c.params["realm"])
	if err != nil {
		return Token{}, err
	}
	values := url.Values{}
	if service := c.params["service"]; service != "" {
		values.Set("service", service)
	}
	for _, one := range scopesOf(c.params["scope"], s) {
		values.Add("scope", one)
	}
	if cred.IdentityToken == "" {
		token, err := a.getToken(ctx, realm, values, cred)
		if cred.Password == "" || !hasNoSuchMethod(err) {
			return token, err
		}
	}
	token, err := a.postToken(ctx, realm, values, cred)
	if cred.IdentityToken != "" && cred.Password != "" && hasNoSuchMethod(err) {
		return a.getToken(ctx, realm, values, cred)
	}
	return token, err
}

// scopesOf joins the scopes of a challenge and of the request. Those of the challenge
// come first, because some token servers read only one.
func scopesOf(challenged string, s scope) []string {
	all := strings.Fields(challenged)
	for _, own := range strings.Fields(s.String()) {
		known := false
		for _, c := range all {
			known = known || c == own
		}
		if !known {
			all = append(all, own)
		}
	}
	return all
}

// hasNoSuchMethod reports whether err means that a token server does not support the
// request's method.
func hasNoSuchMethod(err error) bool {
	var status *transfer.StatusError
	return errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusMethodNotAllowed || status.Code == http.StatusNotImplemented)
}

func (a *authorizer) getToken(ctx context.Context, realm *url.URL, values url.Values, cred Credentials) (Token, error) {
	u := *realm
	query := u.Query()
	for key, value := range values {
		query[key] = value
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Token{}, err
	}
	if header := cred.basic(); header != "" {
		req.Header.Set("Authorization", header)
	}
	return a.askToken(req, values["scope"])
}

func (a *authorizer) postToken(ctx context.Context, realm *url.URL, values url.Values, cred Credentials) (Token, error) {
	form := url.Values{"client_id": {"sx"}, "service": values["service"], "scope": {strings.Join(values["scope"], " ")}}
	if cred.IdentityToken != "" {
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", cred.IdentityToken)
	} else {
		form.Set("grant_type", "password")
		form.Set("username", cred.Username)
		form.Set("password", cred.Password)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return Token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.askToken(req, values["scope"])
}

// askToken sends the request. A redirect to another host gets no password, and a form is
// not redirected at all.
func (a *authorizer) askToken(req *http.Request, scopes []string) (Token, error) {
	client := &http.Client{Transport: a.host.transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if err := checkRedirect(next, via); err != nil {
			return err
		}
		if via[0].Method != http.MethodGet {
			return &transfer.RedirectError{Reason: "by a token server that was sent credentials"}
		}
		if next.URL.Host != via[0].URL.Host {
			next.Header.Del("Authorization")
		}
		return a.checkRealm(next.URL)
	}}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return Token{}, transfer.Plain(req.Context(), err)
	}
	defer resp.Body.Close()
	return a.readToken(req.Context(), resp, scopes)
}

// readToken reads {"token": …} or {"access_token": …}, and "expires_in" in seconds. For
// requests of sx the life does not matter: a token is replaced when the registry refuses it.
func (a *authorizer) readToken(ctx context.Context, resp *http.Response, scopes []string) (Token, error) {
	server := "the token server " + resp.Request.URL.Host + " of " + a.host.registry.RegistryStr()
	if resp.StatusCode != http.StatusOK {
		return Token{}, a.tokenRefused(server, resp, scopes)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return Token{}, transfer.Plain(ctx, err)
	}
	var body struct {
		Token       any             `json:"token"`
		AccessToken any             `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if len(data) > maxToken {
		return Token{}, transfer.Answerf("%s answered with more than %d bytes", server, maxToken)
	}
	if json.Unmarshal(data, &body) != nil {
		if transfer.IsWebPage(resp) {
			return Token{}, transfer.Answerf("%s answered with a web page (%s): is there a proxy or a login page in between?", server, shorten(resp.Header.Get("Content-Type")))
		}
		return Token{}, transfer.Answerf("%s did not answer with a token", server)
	}
	for _, value := range []any{body.Token, body.AccessToken} {
		if token, ok := value.(string); ok && token != "" {
			if strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
				return Token{}, transfer.Answerf("%s answered with a token that is not valid in a header", server)
			}
			return Token{token, lifeOf(body.ExpiresIn)}, nil
		}
	}
	return Token{}, transfer.Answerf("%s answered without a token", server)
}

// maxLife bounds the life that a token server may claim.
const maxLife = 24 * time.Hour

// lifeOf reads a number of seconds; 0 if it is none.
func lifeOf(text json.RawMessage) time.Duration {
	var seconds float64
	if json.Unmarshal(text, &seconds) != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second))
}

func (a *authorizer) tokenRefused(server string, resp *http.Response, scopes []string) error {
	words := said(resp)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest: // 400 is OAuth 2's invalid_grant
		if words != "" {
			words = ": " + words
		}
		return &DeniedError{Host: a.host.registry.RegistryStr(), Repository: strings.Join(scopes, " "), Code: resp.StatusCode, Said: server + " refuses" + words}
	}
	return &tokenError{server, &transfer.StatusError{Code: resp.StatusCode, Said: words}}
}

// tokenError means that a token server refused or failed.
type tokenError struct {
	server string
	err    error
}

func (e *tokenError) Error() string { return e.server + " answered with " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// Token is the answer of a token server: a word for a limited time that stands for a
// permission. It is no password.
type Token struct {
	Value string
	Life  time.Duration // 0 if the server did not say
}

// PasswordError means that a registry has no token server, so that engines could use it
// only with a password.
type PasswordError struct{ Host string }

func (e *PasswordError) Error() string {
	return fmt.Sprintf("%s asks for a user name and a password and has no token server: sx gives engines no password; "+
		"give the registry a token server (distribution's auth.token), or let engines use it without a login: by their network, or by client certificates in their buildkitd.toml", e.Host)
}

// givesTokens returns an error if the registry wants a password of everybody.
func (a *authorizer) givesTokens() error {
	a.mu.Lock()
	hint := a.hint
	a.mu.Unlock()
	if _, ok := find(hint, "bearer"); ok || len(hint) == 0 {
		return nil
	}
	if _, ok := find(hint, "basic"); ok {
		return &PasswordError{a.host.registry.RegistryStr()}
	}
	return transfer.Answerf("%s wants authentication by %s, which sx does not support (it supports Bearer for engines)", a.host.registry.RegistryStr(), schemes(hint))
}

// fresh asks for a token that no other request has used: the engine keeps it for as long
// as its life.
func (a *authorizer) fresh(ctx context.Context, s scope) (Token, error) {
	bearer, err := a.bearer(ctx, s)
	if err != nil {
		return Token{}, err
	}
	cred := a.client.credentials(ctx, a.host.registry.RegistryStr(), s.repository)
	if ctx.Err() != nil {
		return Token{}, context.Cause(ctx)
	}
	if cred.RegistryToken != "" {
		return Token{}, fmt.Errorf("the login for %s is a token for all of it, which sx does not give to engines; log in with a name and a password, of which the token server makes tokens", a.host.registry.RegistryStr())
	}
	return a.token(ctx, bearer, s, cred)
}

// bearer returns the registry's challenge, from its first answers or by a request that is
// refused.
func (a *authorizer) bearer(ctx context.Context, s scope) (challenge, error) {
	for range 2 {
		a.mu.Lock()
		found, ok := find(a.hint, "bearer")
		a.mu.Unlock()
		if ok {
			return found, nil
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.host.registry.RegistryStr()+"/v2/"+s.repository+"/tags/list", nil)
		if err != nil {
			return challenge{}, err
		}
		resp, err := a.RoundTrip(req) // which learns
		if err != nil {
			return challenge{}, err
		}
		drain(resp)
	}
	return challenge{}, transfer.Answerf("%s asks for no token", a.host.registry.RegistryStr())
}
