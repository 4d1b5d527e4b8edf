package preseed

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// Credentials are those for a registry. The zero value means none.
type Credentials struct {
	Username, Password string
	IdentityToken      string // an OAuth 2 refresh token
	RegistryToken      string // sent as the bearer token, without asking a token server
}

// Keychain finds the credentials of a user.
type Keychain interface {
	// Find returns the credentials for a repository of a registry, or the zero value.
	// The repository is without the host, and may be "".
	Find(ctx context.Context, registry, repository string) Credentials
}

// logins is the Keychain of podman login and docker login. It follows
// containers-auth.json(5): it asks the files in that order, and in each file the entry
// with the longest matching path and the credential helpers. If a file or a helper is
// broken, it calls warn once and asks the next one.
type logins struct {
	getenv func(string) string
	warn   func(text string)
	// helperTime is how long a helper may take; 0 for the default.
	helperTime time.Duration

	asking transfer.KeyedMutex[string] // by helper and server
	mu     sync.Mutex
	warned map[string]bool
	had    map[string]Credentials // answers of helpers, by helper and server
}

var _ Keychain = (*logins)(nil)

func newLogins(getenv func(string) string, warn func(string)) *logins {
	return &logins{getenv: getenv, warn: warn, warned: map[string]bool{}, had: map[string]Credentials{}}
}

// Find implements Keychain.
func (l *logins) Find(ctx context.Context, registry, repository string) Credentials {
	names := lookupNames(registry, repository)
	for _, source := range l.files() {
		file, err := source.read()
		if err != nil {
			l.tell(source.path, "the credentials in %s cannot be read: %v", source.path, err)
			continue
		}
		found, err := l.find(ctx, source.path, file, names)
		if err != nil && ctx.Err() == nil {
			l.tell(source.path+err.Error(), "%s: %v", source.path, err)
		}
		if found != (Credentials{}) {
			return found
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Credentials{}
}

func (l *logins) tell(key, format string, args ...any) {
	l.mu.Lock()
	first := !l.warned[key]
	l.warned[key] = true
	l.mu.Unlock()
	if first {
		l.warn(shorten(fmt.Sprintf(format, args...)))
	}
}

// authSource is a file that may hold credentials.
type authSource struct {
	path   string
	legacy bool // .dockercfg: without "auths" around it
}

// files lists the files in the order in which they are asked.
func (l *logins) files() (all []authSource) {
	add := func(dir string, elem ...string) {
		if filepath.IsAbs(dir) {
			all = append(all, authSource{path: filepath.Join(append([]string{dir}, elem...)...)})
		}
	}
	home := l.getenv("HOME")
	add(l.getenv("REGISTRY_AUTH_FILE"))
	if dir := l.getenv("XDG_RUNTIME_DIR"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add(fmt.Sprintf("/run/containers/%d", os.Getuid()), "auth.json")
	}
	if dir := l.getenv("XDG_CONFIG_HOME"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add(home, ".config", "containers", "auth.json")
	}
	if dir := l.getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	if filepath.IsAbs(home) {
		all = append(all, authSource{filepath.Join(home, ".dockercfg"), true})
	}
	return all
}

// authFile has the fields of such a file that sx reads.
type authFile struct {
	Auths       map[string]json.RawMessage `json:"auths"`
	CredHelpers map[string]string          `json:"credHelpers"`
	CredsStore  string                     `json:"credsStore"`
}

// maxAuthFile is the maximum size of such a file, in bytes.
const maxAuthFile = 1 << 20

// read returns the zero value if the file is missing or unreadable for this user. Errors
// do not quote the file.
func (s authSource) read() (file authFile, err error) {
	data, err := readRegular(s.path, maxAuthFile)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		return file, nil
	case err != nil:
		return file, err
	case len(strings.TrimSpace(string(data))) == 0:
		return file, nil
	case s.legacy:
		err = json.Unmarshal(data, &file.Auths)
	default:
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		return authFile{}, errors.New("it is not the JSON of docker login or podman login")
	}
	return file, nil
}

// readRegular reads a regular file of at most limit bytes. It follows links and does not
// block on a pipe. Errors do not name the file.
func readRegular(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, err
}

// find searches one file: the helper for the registry, then the entries, then the store
// for all registries. It may return credentials together with an error from before.
func (l *logins) find(ctx context.Context, path string, file authFile, names names) (found Credentials, err error) {
	for _, host := range names.hosts {
		if helper := file.CredHelpers[host]; helper != "" {
			found, err = l.ask(ctx, helper, names.servers)
			break
		}
	}
	if found != (Credentials{}) {
		return found, err
	}
	found, wrong := file.entry(names)
	err = errors.Join(err, wrong)
	if found != (Credentials{}) || file.CredsStore == "" {
		return found, err
	}
	found, wrong = l.ask(ctx, file.CredsStore, names.servers)
	return found, errors.Join(err, wrong)
}

// names are those under which a repository's credentials may be listed.
type names struct {
	paths   []string // "host/namespace/name", "host/namespace", "host"
	hosts   []string // "host"; Docker Hub has several
	servers []string // the names to ask a credential helper for, in this order
}

// hub lists the names of Docker Hub; the first is the one that podman uses.
var hub = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// hubServer is the name that docker login uses.
const hubServer = "https://index.docker.io/v1/"

func lookupNames(registry, repository string) names {
	n := names{hosts: []string{registry}, servers: []string{registry}}
	if slices.Contains(hub, registry) {
		n.hosts = append(slices.Clone(hub), hubServer)
		n.servers = []string{hubServer, hub[0]}
	}
	path := repository
	for path != "" {
		for _, host := range n.hosts {
			n.paths = append(n.paths, host+"/"+path)
		}
		path = path[:max(strings.LastIndex(path, "/"), 0)]
	}
	n.paths = append(n.paths, n.hosts...)
	return n
}

// entry returns the entry with the longest matching path. It skips entries without
// credentials, which docker login writes if it uses a credential store.
func (f authFile) entry(n names) (found Credentials, err error) {
	var errs []error
	try := func(key string) bool {
		raw, ok := f.Auths[key]
		if !ok {
			return false
		}
		c, err := parseEntry(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("the entry %q: %w", key, err))
		}
		found = c
		return c != (Credentials{})
	}
	if slices.ContainsFunc(n.paths, try) {
		return found, nil
	}
	// Older programs list URLs ("https://host/v1/").
	for _, key := range slices.Sorted(maps.Keys(f.Auths)) {
		if slices.Contains(n.hosts, hostOfKey(key)) && try(key) {
			return found, nil
		}
	}
	return Credentials{}, errors.Join(errs...)
}

// hostOfKey returns the host of a key that is a URL, and other keys unchanged.
func hostOfKey(key string) string {
	rest, isURL := strings.CutPrefix(key, "https://")
	if !isURL {
		rest, isURL = strings.CutPrefix(key, "http://")
	}
	if isURL {
		rest, _, _ = strings.Cut(rest, "/")
	}
	return strings.TrimSuffix(rest, "/")
}

// parseEntry parses an entry. Errors do not quote it.
func parseEntry(raw json.RawMessage) (c Credentials, err error) {
	var e struct{ Auth, Username, Password, IdentityToken, RegistryToken string }
	if json.Unmarshal(raw, &e) != nil {
		return c, errors.New("it is not an object of strings")
	}
	c = Credentials{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth == "" {
		return c, nil
	}
	data, err := base64.StdEncoding.DecodeString(e.Auth)
	if err != nil {
		data, err = base64.RawStdEncoding.DecodeString(e.Auth)
	}
	user, password, ok := strings.Cut(string(data), ":")
	if err != nil || !ok {
		return c, errors.New("its auth is not the base64 of user:password")
	}
	c.Username, c.Password = user, strings.Trim(password, "\x00")
	return c, nil
}

// credentials returns the user's credentials for a repository.
func (c *Client) credentials(ctx context.Context, registry, repository string) Credentials {
	if slices.Contains(hub, registry) {
		registry = hub[0]
	}
	return c.opts.Keychain.Find(ctx, registry, repository)
}
