package preseed

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// home is a user with files and helpers. PATH holds the helpers, and what they need.
type home struct {
	dir  string
	env  map[string]string
	told []string
	*logins
}

func newHome(t *testing.T, files map[string]string) *home {
	t.Helper()
	h := &home{dir: t.TempDir()}
	h.env = map[string]string{"HOME": h.dir, "XDG_RUNTIME_DIR": filepath.Join(h.dir, "run")}
	for name, data := range files {
		path := filepath.Join(h.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(h.dir, "bin")+":"+os.Getenv("PATH"))
	var mu sync.Mutex
	h.logins = newLogins(func(key string) string { return h.env[key] }, func(text string) {
		mu.Lock()
		defer mu.Unlock()
		h.told = append(h.told, text)
	})
	return h
}

func (h *home) wantTold(t *testing.T, texts ...string) {
	t.Helper()
	if len(h.told) != len(texts) {
		t.Fatalf("told %q, want %q", h.told, texts)
	}
	for i, text := range texts {
		if !strings.Contains(h.told[i], text) {
			t.Errorf("told %q, want %q", h.told[i], text)
		}
	}
	if all := strings.Join(h.told, " "); strings.Contains(all, "secret") {
		t.Errorf("told %q", all)
	}
}

// login is an entry of such a file.
func entryOf(user string) string {
	return fmt.Sprintf(`{"auth":%q}`, base64.StdEncoding.EncodeToString([]byte(user+":secret")))
}

// auths is a file with entries: key, user, key, user …
func auths(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		entry := pairs[i+1]
		if !strings.HasPrefix(entry, "{") {
			entry = entryOf(entry)
		}
		all = append(all, fmt.Sprintf("%q:%s", pairs[i], entry))
	}
	return `{"auths":{` + strings.Join(all, ",") + `}}`
}

const (
	podman  = "run/containers/auth.json"
	podman2 = ".config/containers/auth.json"
	docker  = ".docker/config.json"
)

// The longest matching path wins, and never another namespace's.
func TestLongestPath(t *testing.T) {
	const host, repo = "registry.example:5000", "team/ns/core-a"
	for name, c := range map[string]struct{ file, want string }{
		"the host":                  {auths(host, "h"), "h"},
		"the repository":            {auths(host, "h", host+"/team", "t", host+"/team/ns", "n", host+"/team/ns/core-a", "r"), "r"},
		"the namespace":             {auths(host, "h", host+"/team", "t", host+"/team/ns", "n", host+"/other", "o"), "n"},
		"a namespace above":         {auths(host, "h", host+"/team", "t", host+"/team/ns/core-b", "b"), "t"},
		"only another namespace's":  {auths(host+"/other", "o"), ""},
		"another with our prefix":   {auths(host+"/team/n", "o", host+"/tea", "o"), ""},
		"another port":              {auths("registry.example:5001", "o", "registry.example", "o"), ""},
		"another host with a path":  {auths("other.example/"+host, "o"), ""},
		"a URL, as once":            {auths("https://"+host+"/v1/", "u"), "u"},
		"a URL with http":           {auths("http://"+host, "u"), "u"},
		"a URL, and the host":       {auths("https://"+host+"/v1/", "u", host, "h"), "h"},
		"an empty one that matches": {auths(host+"/team/ns", "{}", host, "h"), "h"},
		"a broken one that matches": {auths(host+"/team/ns", `{"auth":"!"}`, host, "h"), "h"},
		"a broken one elsewhere":    {auths("x.example", `{"auth":5}`, host, "h"), "h"},
		"a password as it is":       {auths(host, `{"username":"p","password":"secret"}`), "p"},
		"a password with colons":    {auths(host, fmt.Sprintf(`{"auth":%q}`, base64.StdEncoding.EncodeToString([]byte("c:sec:ret")))), "c"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 8 { // a map is read in another order each time
				h := newHome(t, map[string]string{podman: c.file})
				if got := h.Find(t.Context(), host, repo); got.Username != c.want {
					t.Fatalf("got %q, want %q", got.Username, c.want)
				}
			}
		})
	}
}

func TestDockerHub(t *testing.T) {
	for _, key := range []string{"docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io", "docker.io/stagex"} {
		for _, registry := range []string{"docker.io", "index.docker.io"} {
			h := newHome(t, map[string]string{docker: auths(key, "me")})
			if got := h.Find(t.Context(), registry, "stagex/core-a"); got.Username != "me" {
				t.Errorf("%s of %s: got %q", registry, key, got.Username)
			}
		}
	}
}

// Files are asked in the order of containers-auth.json(5), and a broken one keeps no
// other from being asked.
func TestOrderOfFiles(t *testing.T) {
	const host = "registry.example"
	var files []string
	all := map[string]string{}
	for _, name := range []string{"explicit.json", podman, podman2, docker, ".dockercfg"} {
		files = append(files, name)
		all[name] = auths(host, "of-"+name)
	}
	all[".dockercfg"] = fmt.Sprintf(`{"https://%s/v1/":%s}`, host, entryOf("of-.dockercfg"))
	for i, first := range files {
		for _, spoilt := range []string{"", "{", "[]", `{"auths":[]}`, strings.Repeat(" ", maxAuthFile) + "{}", auths("other.example", "o"), auths(host, `{"auth":5}`)} {
			h := newHome(t, nil)
			h.env["REGISTRY_AUTH_FILE"] = filepath.Join(h.dir, "explicit.json")
			for j, name := range files {
				data := all[name]
				if j < i {
					data = spoilt
				}
				path := filepath.Join(h.dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // told once
				if got := h.Find(t.Context(), host, "stagex/core-a"); got.Username != "of-"+first {
					t.Errorf("before %s %.20q: got %q", first, spoilt, got.Username)
				}
			}
			if len(h.told) > i {
				t.Errorf("told %q", h.told)
			}
		}
	}
}

// A pipe or a folder in the place of a file is not waited for.
func TestNoRegularFile(t *testing.T) {
	h := newHome(t, map[string]string{docker: auths("registry.example", "d")})
	h.env["REGISTRY_AUTH_FILE"] = filepath.Join(h.dir, "pipe")
	if err := errors.Join(syscall.Mkfifo(filepath.Join(h.dir, "pipe"), 0o600), os.MkdirAll(filepath.Join(h.dir, podman), 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := h.Find(t.Context(), "registry.example", ""); got.Username != "d" {
		t.Errorf("got %q", got.Username)
	}
	h.wantTold(t, "pipe cannot be read: it is not a regular file", "auth.json cannot be read")
}

// helper is a script that is installed as docker-credential-<name>.
func helper(name, script string) (file, text string) {
	return "bin/docker-credential-" + name, "#!/bin/sh\n" + script + "\n"
}

func TestHelpers(t *testing.T) {
	const answer = `echo '{"ServerURL":"x","Username":"h","Secret":"secret"}'`
	const host = "registry.example"
	use := fmt.Sprintf(`{"credHelpers":{%q:"sxtest"}}`, host)
	for name, c := range map[string]struct {
		config, script string
		want           Credentials
		told           []string
	}{
		"for the host":            {use, answer, Credentials{Username: "h", Password: "secret"}, nil},
		"for all":                 {`{"credsStore":"sxtest"}`, answer, Credentials{Username: "h", Password: "secret"}, nil},
		"for another":             {`{"credHelpers":{"other.example":"sxtest"}}`, answer, Credentials{}, nil},
		"the host's before all":   {fmt.Sprintf(`{"credsStore":"none","credHelpers":{%q:"sxtest"}}`, host), answer, Credentials{Username: "h", Password: "secret"}, nil},
		"before an entry":         {strings.TrimSuffix(use, "}") + `,` + strings.TrimPrefix(auths(host, "e"), "{"), answer, Credentials{Username: "h", Password: "secret"}, nil},
		"an entry before all":     {`{"credsStore":"sxtest",` + strings.TrimPrefix(auths(host, "e"), "{"), answer, Credentials{Username: "e", Password: "secret"}, nil},
		"an empty entry":          {`{"credsStore":"sxtest",` + strings.TrimPrefix(auths(host, "{}"), "{"), answer, Credentials{Username: "h", Password: "secret"}, nil},
		"an identity token":       {use, `echo '{"Username":"<token>","Secret":"t"}'`, Credentials{IdentityToken: "t"}, nil},
		"not found":               {use, `echo credentials not found in native keychain; exit 1`, Credentials{}, nil},
		"not found, then entry":   {strings.TrimSuffix(use, "}") + `,` + strings.TrimPrefix(auths(host, "e"), "{"), `echo credentials not found in native keychain; exit 1`, Credentials{Username: "e", Password: "secret"}, nil},
		"fails on stdout":         {use, `echo the keyring is locked; exit 1`, Credentials{}, []string{"docker-credential-sxtest failed (exit status 1): the keyring is locked"}},
		"fails on stderr":         {use, `echo no display >&2; exit 3`, Credentials{}, []string{"failed (exit status 3): no display"}},
		"fails, then entry":       {strings.TrimSuffix(use, "}") + `,` + strings.TrimPrefix(auths(host, "e"), "{"), `exit 3`, Credentials{Username: "e", Password: "secret"}, []string{"failed (exit status 3)"}},
		"killed":                  {use, `kill -9 $$`, Credentials{}, []string{"failed (signal: killed)"}},
		"chatter on stderr":       {use, `head -c 3000000 /dev/zero >&2; ` + answer, Credentials{Username: "h", Password: "secret"}, nil},
		"megabytes on stdout":     {use, `head -c 3000000 /dev/zero`, Credentials{}, []string{"answered with more than 65536 bytes"}},
		"not JSON":                {use, `echo secret`, Credentials{}, []string{"did not answer with JSON"}},
		"nothing":                 {use, ``, Credentials{}, []string{"did not answer with JSON"}},
		"not installed":           {`{"credsStore":"sxnone"}`, answer, Credentials{}, []string{"docker-credential-sxnone is not installed"}},
		"a path":                  {`{"credsStore":"../../bin/sh"}`, answer, Credentials{}, []string{"is not a plain name"}},
		"a child that goes on":    {use, `sleep 10 & ` + answer, Credentials{Username: "h", Password: "secret"}, nil},
		"does not read its input": {use, `exec 0<&-; ` + answer, Credentials{Username: "h", Password: "secret"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			file, text := helper("sxtest", "echo run >> "+`"$(dirname "$0")/../ran"`+"\n"+c.script)
			h := newHome(t, map[string]string{docker: c.config, file: text})
			for i := range 3 {
				if got := h.Find(t.Context(), host, fmt.Sprintf("stagex/core-%d", i)); got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
			}
			h.wantTold(t, c.told...)
			if ran, _ := os.ReadFile(filepath.Join(h.dir, "ran")); strings.Count(string(ran), "run") > 1 {
				t.Errorf("it ran %d times", strings.Count(string(ran), "run"))
			}
		})
	}
}

// A helper that waits is given up, and ends with what asked it.
func TestHelperThatWaits(t *testing.T) {
	file, text := helper("sxtest", "exec sleep 600")
	files := map[string]string{docker: `{"credsStore":"sxtest"}`, file: text, podman2: auths("registry.example", "p")}
	h := newHome(t, files)
	h.helperTime = 200 * time.Millisecond
	delete(files, podman2)
	if got := h.Find(t.Context(), "registry.example", ""); got.Username != "p" {
		t.Errorf("got %q", got.Username)
	}
	h = newHome(t, files)
	h.helperTime = 200 * time.Millisecond
	if got := h.Find(t.Context(), "registry.example", ""); got != (Credentials{}) {
		t.Errorf("got %q", got.Username)
	}
	h.wantTold(t, "docker-credential-sxtest did not answer within 200ms")

	h = newHome(t, files)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	h.Find(ctx, "registry.example", "")
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it ended after %v", took)
	}
	h.wantTold(t)
}
