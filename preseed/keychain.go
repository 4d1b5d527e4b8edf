package preseed

import (
	"context"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// logins are the credentials of this user: those of docker login and, where it has
// none for a registry, of podman login; each also from credential helpers.
// go-containerregistry's own keychain reads podman's only where docker has no
// configuration at all.
type logins struct{ getenv func(string) string }

var _ authn.Keychain = logins{}

// Resolve returns the first credentials that a file has for the repository or its
// registry (containers-auth.json(5): the longest name first); Anonymous where none
// has. A file that cannot be read is an error: its owner would wonder.
func (l logins) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, path := range l.files() {
		f, err := os.Open(path)
		if err != nil {
			continue // is not there, or is another user's
		}
		file, err := config.LoadFromReader(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		auth, err := find(file, target)
		if err != nil || auth != nil {
			return auth, err
		}
	}
	return authn.Anonymous, nil
}

func (l logins) files() (paths []string) {
	add := func(dir string, elem ...string) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(append([]string{dir}, elem...)...))
		}
	}
	if dir := l.getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(l.getenv("HOME"), ".docker", "config.json")
	}
	add(l.getenv("REGISTRY_AUTH_FILE"))
	add(l.getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	add(l.getenv("XDG_CONFIG_HOME"), "containers", "auth.json")
	add(l.getenv("HOME"), ".config", "containers", "auth.json")
	return paths
}

// find asks one file, and the helpers that it names; nil where it has nothing.
func find(file *configfile.ConfigFile, target authn.Resource) (authn.Authenticator, error) {
	keys := []string{target.String(), target.RegistryStr()}
	if target.RegistryStr() == name.DefaultRegistry { // Docker Hub, by docker and by podman
		keys = append(keys, authn.DefaultAuthKey, "docker.io")
	}
	for _, key := range keys {
		a, err := file.GetAuthConfig(key)
		if err != nil {
			return nil, err
		}
		a.ServerAddress = "" // is always set
		if a != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
			}), nil
		}
	}
	return nil, nil
}

// credentials of a repository. Those that cannot be had, as when a helper is not
// installed, keep nobody from what is public: that is told once.
func (c *Client) credentials(ctx context.Context, repo name.Repository) authn.Authenticator {
	auth, err := authn.Resolve(ctx, c.opts.Keychain, repo)
	if err == nil {
		return auth
	}
	c.helpless.Do(func() {
		c.opts.Warn("credentials for " + repo.RegistryStr() + " cannot be read, so it is asked without: " + shorten(err.Error()))
	})
	return authn.Anonymous
}
