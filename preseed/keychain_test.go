package preseed

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

func TestCredentials(t *testing.T) {
	s := newServer(t)
	img := s.publish("core-a", noise(1, 10))
	auth := func(key, user string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, base64.StdEncoding.EncodeToString([]byte(user+":secret")))
	}
	var got string
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		user, _, ok := r.BasicAuth()
		if r.URL.Path == "/v2/" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if got = user; !ok {
			got = "nobody"
		}
		return false
	})
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"none", nil, "nobody"},
		{"docker's", map[string]string{".docker/config.json": auth(s.host(), "d")}, "d"},
		{"podman's", map[string]string{"run/containers/auth.json": auth(s.host(), "p")}, "p"},
		{"podman's, of the namespace's image", map[string]string{"run/containers/auth.json": auth(s.host()+"/stagex/core-a", "p")}, "p"},
		{"both", map[string]string{".docker/config.json": auth(s.host(), "d"), "run/containers/auth.json": auth(s.host(), "p")}, "p"},
		{"docker's for another", map[string]string{".docker/config.json": auth("quay.io", "d"), "run/containers/auth.json": auth(s.host(), "p")}, "p"},
		{"a helper", map[string]string{
			".docker/config.json":          fmt.Sprintf(`{"credHelpers":{%q:"sxtest"}}`, s.host()),
			"bin/docker-credential-sxtest": "#!/bin/sh\necho '{\"ServerURL\":\"x\",\"Username\":\"h\",\"Secret\":\"s\"}'\n",
		}, "h"},
		{"a helper that is not there", map[string]string{".docker/config.json": `{"credsStore":"sxnone"}`}, "nobody"},
		{"no JSON", map[string]string{".docker/config.json": `{`}, "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			for name, data := range c.files {
				path := filepath.Join(home, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(data), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for key, value := range map[string]string{
				"HOME": home, "XDG_RUNTIME_DIR": filepath.Join(home, "run"), "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": "",
				"PATH": filepath.Join(home, "bin") + ":" + os.Getenv("PATH"),
			} {
				t.Setenv(key, value)
			}
			var told []string
			client, err := NewClient(ClientOptions{Warn: func(text string) { told = append(told, text) }})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for range 2 {
				repo, err := client.Repository(t.Context(), s.registry().Repository("core-a"))
				if err != nil {
					t.Fatal(err)
				}
				if data, _, err := repo.Manifest(t.Context(), img.digest()); err != nil || oci.DigestOf(data) != img.digest() {
					t.Fatal(err)
				}
			}
			if got != c.want {
				t.Errorf("the registry was asked by %q, want %q", got, c.want)
			}
			if broken := c.want == "nobody" && c.files != nil; broken != (len(told) == 1) {
				t.Errorf("told %q", told)
			}
			if strings.Contains(fmt.Sprint(told), "secret") {
				t.Errorf("told %q", told)
			}
		})
	}
}
