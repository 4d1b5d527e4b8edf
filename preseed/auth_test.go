package preseed

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// guarded lets through what has the token, and challenges the rest. Its token server is
// what token says. With openPing GET /v2/ needs none.
func guarded(s *server, openPing bool, challenge string, token http.HandlerFunc) {
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			token(w, r)
			return true
		case openPing && r.URL.Path == "/v2/", r.Header.Get("Authorization") == "Bearer T":
			return false
		}
		w.Header().Set("WWW-Authenticate", strings.ReplaceAll(challenge, "REALM", s.URL+"/token"))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

const ordinary = `Bearer realm="REALM",service="s"`

// The challenge of any request is answered, not only that of the ping.
func TestChallengeOfAnyRequest(t *testing.T) {
	for _, chain := range []Keychain{anonymous{}, me{}} {
		s := newServer(t)
		img := newImage("core-a", noise(1, 1000), noise(2, 1000))
		var asked []string
		guarded(s, true, ordinary+`,scope="repository:stagex/core-a:pull"`, func(w http.ResponseWriter, r *http.Request) {
			user, _, _ := r.BasicAuth()
			asked = append(asked, fmt.Sprint(user, " ", r.URL.Query()["scope"]))
			fmt.Fprint(w, `{"token":"T"}`)
		})
		s.put(img)
		_, store := newTree(t)
		opts := options(t, store, s)
		opts.Client.Keychain = chain
		mustRun(t, opts, img)
		user := chain.Find(t.Context(), "", "").Username
		if want := "[" + user + " [repository:stagex/core-a:pull]]"; fmt.Sprint(asked) != want {
			t.Errorf("the token server was asked %q, want %q", asked, want)
		}

		// To push wants another token, and bytes that were refused are sent again.
		asked = nil
		if _, err := newPusherFor(t, chain).Push(t.Context(), s.registry().Repository("core-b"), newImage("core-b", noise(3, 1000)).contents(), []string{"1"}); err != nil {
			t.Error(err)
		}
		if !strings.Contains(fmt.Sprint(asked), "repository:stagex/core-b:pull,push") {
			t.Errorf("the token server was asked %q", asked)
		}
	}
}

func newPusherFor(t *testing.T, chain Keychain) *Pusher {
	t.Helper()
	return NewPusher(newClient(t, ClientOptions{Keychain: chain}), PushOptions{})
}

// A token that is not taken any more is exchanged for a new one.
func TestTokenExpires(t *testing.T) {
	s := newServer(t)
	img := s.publish("core-a", noise(1, 10))
	var valid, tokens atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"token":"T%d","expires_in":"soon"}`, tokens.Add(1))
			return true
		case r.Header.Get("Authorization") == fmt.Sprintf("Bearer T%d", valid.Load()):
			return false
		}
		w.Header().Set("WWW-Authenticate", strings.ReplaceAll(ordinary, "REALM", s.URL+"/token"))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	repo, err := newClient(t, ClientOptions{}).Repository(t.Context(), s.registry().Repository("core-a"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		valid.Store(int64(i + 1))
		if _, _, err := repo.Manifest(t.Context(), img.digest()); err != nil {
			t.Errorf("token %d: %v", i+1, err)
		}
	}
}

// What a token server and a challenge may say: understood, or told in a sentence.
func TestTokenServers(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) { whole(w, "text/html", []byte("<html>log in</html>")) }
	login := httptest.NewServer(http.HandlerFunc(page))
	t.Cleanup(login.Close)
	text := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, body) }
	}
	good := text(200, `{"token":"T"}`)
	for _, c := range []struct {
		name, challenge string
		token           http.HandlerFunc
		want            string // in the error; "" for none
	}{
		{"ordinary", ordinary, good, ""},
		{"expires_in is text", ordinary, text(200, `{"token":"T","expires_in":"300","issued_at":5}`), ""},
		{"expires_in is huge", ordinary, text(200, `{"token":"T","expires_in":1e999}`), ""},
		{"an access_token", ordinary, text(200, `{"token":"","access_token":"T"}`), ""},
		{"an empty parameter", `Bearer empty="",realm="REALM",service="s"`, good, ""},
		{"no service", `Bearer realm="REALM"`, good, ""},
		{"upper case and spaces", `BEARER   Realm = "REALM" ,  Service = s`, good, ""},
		{"a list with holes", `, ,Bearer realm="REALM",,service="s",`, good, ""},
		{"after another scheme", `Negotiate abc==, Bearer realm="REALM"`, good, ""},
		{"before another scheme", `Bearer realm="REALM", Basic realm="x"`, good, ""},
		{"quoted pairs", `Bearer service="a \"b\" c",realm="REALM"`, good, ""},
		{"a realm with a query", `Bearer realm="REALM?a=b"`, good, ""},
		{"no realm", `Bearer service="s"`, good, "does not name a token server"},
		{"no scheme that sx speaks", `Negotiate, Digest realm="x"`, good, "by negotiate, digest, which sx does not support"},
		{"another scheme for the realm", `Bearer realm="ftp://127.0.0.1/x"`, good, `scheme "ftp" is neither http nor https`},
		{"metadata", `Bearer realm="http://169.254.169.254/token"`, good, "invalid realm"},
		{"metadata, as a number", `Bearer realm="http://2852039166/token"`, good, "invalid realm"},
		{"credentials in the realm", `Bearer realm="http://a:b@127.0.0.1/x"`, good, "its URL has credentials"},
		{"a challenge of megabytes", `Bearer realm="REALM",x="` + strings.Repeat("y", 200<<10) + `"`, good, ""},
		{"a page", ordinary, page, "answered with a web page (text/html): is there a proxy or a login page in between?"},
		{"a redirect to a page", ordinary, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, login.URL, http.StatusFound)
		}, "answered with a web page"},
		{"redirects without end", ordinary, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "redirect refused: more than 10"},
		{"a redirect to metadata", ordinary, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/x", http.StatusFound)
		}, "invalid realm"},
		{"not JSON", ordinary, text(200, "T"), "did not answer with a token"},
		{"JSON of another shape", ordinary, text(200, `["T"]`), "did not answer with a token"},
		{"a number", ordinary, text(200, `{"token":5}`), "answered without a token"},
		{"nothing", ordinary, text(200, `{}`), "answered without a token"},
		{"204", ordinary, text(204, ``), "HTTP status 204"},
		{"a token that breaks out", ordinary, text(200, `{"token":"T\r\nX: y"}`), "a token that is not valid in a header"},
		{"without end", ordinary, func(w http.ResponseWriter, _ *http.Request) { endless(w) }, "answered with more than 65536 bytes"},
		{"nested", ordinary, text(200, strings.Repeat("[", 60000)), "did not answer with a token"},
		{"401", ordinary, text(401, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}`), "refuses: UNAUTHORIZED wrong password; log in with docker login"},
		{"403", ordinary, text(403, `no`), "refuses; log in with docker login"},
		{"404", ordinary, text(404, `no`), "answered with HTTP status 404"},
		{"500", ordinary, text(500, `no`), "answered with HTTP status 500"},
		{"no answer", ordinary, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer for 1s"},
		{"closed", ordinary, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the connection was closed without an answer"},
		{"a token that is no good", ordinary, text(200, `{"token":"U"}`), "refuses access to stagex/core-a (HTTP status 401)"},
	} {
		for _, openPing := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " ", openPing), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				img := s.publish("core-a", noise(1, 10))
				guarded(s, openPing, c.challenge, c.token)
				_, store := newTree(t)
				opts := options(t, store, s)
				opts.Retries = -1
				opts.Client.Limits.Header = time.Second
				_, err := Run(t.Context(), wanted(img), opts)
				if c.want == "" && err != nil {
					t.Error(err)
				}
				if c.want != "" {
					wantError(t, err, c.want)
				}
				if err != nil && len(err.Error()) > 600 {
					t.Errorf("the error has %d characters", len(err.Error()))
				}
			})
		}
	}
}

// fixed is one user's credentials.
type fixed Credentials

func (f fixed) Find(context.Context, string, string) Credentials { return Credentials(f) }

// Each kind of credentials goes where it belongs.
func TestKindsOfCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		cred   Credentials
		noGet  bool
		want   string // of the token server; "" if it is not asked
		header string // that the registry gets
	}{
		"none":            {Credentials{}, false, "GET  map[]", "Bearer T"},
		"a password":      {Credentials{Username: "me", Password: "pw"}, false, "GET me:pw map[]", "Bearer T"},
		"without GET":     {Credentials{Username: "me", Password: "pw"}, true, "POST  password me pw", "Bearer T"},
		"identity token":  {Credentials{IdentityToken: "id"}, false, "POST  refresh_token id", "Bearer T"},
		"registry token":  {Credentials{RegistryToken: "T"}, false, "", "Bearer T"},
		"both, first one": {Credentials{Username: "me", Password: "pw", IdentityToken: "id"}, false, "POST  refresh_token id", "Bearer T"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			img := s.publish("core-a", noise(1, 10))
			got := ""
			guarded(s, true, ordinary, func(w http.ResponseWriter, r *http.Request) {
				if c.noGet && r.Method == http.MethodGet {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				user, password, ok := r.BasicAuth()
				if ok {
					user += ":" + password
				}
				r.ParseForm()
				said := []string{r.Method, user}
				for _, key := range []string{"grant_type", "username", "password", "refresh_token"} {
					if v := r.PostForm.Get(key); v != "" {
						said = append(said, v)
					}
				}
				if r.Method == http.MethodGet {
					said = append(said, fmt.Sprint(r.PostForm))
				}
				got = strings.Join(said, " ")
				fmt.Fprint(w, `{"token":"T"}`)
			})
			_, store := newTree(t)
			opts := options(t, store, s)
			opts.Client.Keychain = fixed(c.cred)
			mustRun(t, opts, img)
			if got != c.want {
				t.Errorf("the token server was asked %q, want %q", got, c.want)
			}
		})
	}
}

// A password does not follow a token server's redirect to another host.
func TestTokenRedirectWithoutPassword(t *testing.T) {
	var got []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		fmt.Fprint(w, `{"token":"T"}`)
	}))
	defer elsewhere.Close()
	for _, cred := range []Credentials{{Username: "me", Password: "pw"}, {IdentityToken: "id"}} {
		s := newServer(t)
		img := s.publish("core-a", noise(1, 10))
		guarded(s, false, ordinary, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		})
		_, store := newTree(t)
		opts := options(t, store, s)
		opts.Client.Keychain = fixed(cred)
		_, err := Run(t.Context(), wanted(img), opts)
		if cred.IdentityToken != "" {
			wantError(t, err, "redirect refused")
		} else if err != nil {
			t.Error(err)
		}
	}
	if fmt.Sprintf("%q", got) != `[""]` {
		t.Errorf("the other host got %q", got)
	}
}
