package preseed

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// maxToken is the maximum size of a token server's answer, in bytes.
const maxToken = 64 << 10

// token asks the token server of a challenge for a token (distribution's token
// protocol): with a refresh token by POST (OAuth 2), else by GET. If the server does not
// support that method, the other is tried.
func (a *authorizer) token(ctx context.Context, c challenge, s scope, cred Credentials) (string, error) {
	realm, err := a.tokenServer(c.params["realm"])
	if err != nil {
		return "", err
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

func (a *authorizer) getToken(ctx context.Context, realm *url.URL, values url.Values, cred Credentials) (string, error) {
	u := *realm
	query := u.Query()
	for key, value := range values {
		query[key] = value
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	if header := cred.basic(); header != "" {
		req.Header.Set("Authorization", header)
	}
	return a.askToken(req, values["scope"])
}

func (a *authorizer) postToken(ctx context.Context, realm *url.URL, values url.Values, cred Credentials) (string, error) {
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
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.askToken(req, values["scope"])
}

// askToken sends the request. A redirect to another host gets no password, and a form is
// not redirected at all.
func (a *authorizer) askToken(req *http.Request, scopes []string) (string, error) {
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
		return "", transfer.Plain(req.Context(), err)
	}
	defer resp.Body.Close()
	return a.readToken(req.Context(), resp, scopes)
}

// readToken reads {"token": …} or {"access_token": …}. It ignores the time of expiry: an
// expired token is replaced when the registry refuses it.
func (a *authorizer) readToken(ctx context.Context, resp *http.Response, scopes []string) (string, error) {
	server := "the token server " + resp.Request.URL.Host + " of " + a.host.registry.RegistryStr()
	if resp.StatusCode != http.StatusOK {
		return "", a.tokenRefused(server, resp, scopes)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return "", transfer.Plain(ctx, err)
	}
	var body struct {
		Token       any `json:"token"`
		AccessToken any `json:"access_token"`
	}
	if len(data) > maxToken {
		return "", transfer.Answerf("%s answered with more than %d bytes", server, maxToken)
	}
	if json.Unmarshal(data, &body) != nil {
		if transfer.IsWebPage(resp) {
			return "", transfer.Answerf("%s answered with a web page (%s): is there a proxy or a login page in between?", server, shorten(resp.Header.Get("Content-Type")))
		}
		return "", transfer.Answerf("%s did not answer with a token", server)
	}
	for _, value := range []any{body.Token, body.AccessToken} {
		if token, ok := value.(string); ok && token != "" {
			if strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
				return "", transfer.Answerf("%s answered with a token that is not valid in a header", server)
			}
			return token, nil
		}
	}
	return "", transfer.Answerf("%s answered without a token", server)
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
