package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/buildkit/kubernetes"
	"codeberg.org/stagex/sx/buildkit/remote"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// addEngineFlags adds --engine and the TLS flags; all are settings too.
func addEngineFlags(c *cobra.Command) {
	f := c.Flags()
	if c.HasSubCommands() {
		f = c.PersistentFlags()
	}
	f.Var(new(enginesFlag), "engine", "`ENGINE` to build on: embedded, docker, podman, a buildkitd at unix://, tcp://, ssh://, docker-container://, podman-container:// or kube-pod://, pods that sx makes at kubernetes://[CONTEXT/]NAMESPACE/NAME, or the NAME of [engines.NAME] in stagex.toml; given again, builds share the engines (default: $BUILDKIT_HOST, else embedded)")
	f.Var(new(pathFlag), "tlscacert", "tcp://: `FILE` with the authority of the engine's certificate")
	f.Var(new(pathFlag), "tlscert", "tcp://: `FILE` with the client's certificate")
	f.Var(new(pathFlag), "tlskey", "tcp://: `FILE` with the client's key")
	f.String("tlsservername", "", "tcp://: `NAME` in the engine's certificate, if not the host's")
	f.Var(new(pathFlag), "tlsdir", "tcp://: `DIR` with ca.pem, cert.pem and key.pem instead")
	group(f, groupEngine, "engine", "tlscacert", "tlscert", "tlskey", "tlsservername", "tlsdir")
	for _, name := range []string{"tlscacert", "tlscert", "tlskey"} {
		f.SetAnnotation(name, cobra.BashCompFilenameExt, nil)
	}
	f.SetAnnotation("tlsdir", cobra.BashCompSubdirsInDir, nil)
}

// pathFlag is a path that is made absolute, relative to the working directory.
type pathFlag string

func (p *pathFlag) String() string { return string(*p) }
func (p *pathFlag) Type() string   { return "PATH" }
func (p *pathFlag) Set(text string) error {
	abs, err := filepath.Abs(text)
	*p = pathFlag(abs)
	return err
}

// enginesFlag is --engine, which may be given several times.
type enginesFlag []string

func (e *enginesFlag) String() string { return strings.Join(*e, " ") }
func (e *enginesFlag) Type() string   { return "ENGINE" }
func (e *enginesFlag) Set(text string) error {
	*e = append(*e, text)
	return nil
}

// talker receives the messages for the user before a build.
type talker interface {
	Waiting(what string)
	Warn(text string)
}

// otherEngine is what sx waits for if its engine cannot start yet.
const otherEngine = "another sx, whose engine is of another build"

// plainTalk is a talker that writes lines to w.
type plainTalk struct{ w io.Writer }

func (p plainTalk) Waiting(what string) { fmt.Fprintln(p.w, "sx: waiting for "+text.Field(what)) }
func (p plainTalk) waitingForEngine()   { p.Waiting(otherEngine) }
func (p plainTalk) Warn(warning string) { fmt.Fprintln(p.w, "sx: warning: "+text.Field(warning)) }

// engines returns the engines of the settings.
func (a *app) engines(store *cache.Store, set settings.Settings, talk talker) (all []fleet.Member, err error) {
	names, chosen := set.Selected()
	for i, e := range chosen {
		m := fleet.Member{Name: names[i], Jobs: e.Jobs, Memory: e.Memory, Platforms: e.Platforms, Labels: e.Labels}
		if m.Engine, err = a.engineAt(store, set, e, talk); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// engine returns the engine of the settings for a command that works on one at a time.
func (a *app) engine(store *cache.Store, set settings.Settings, talk talker) (buildkit.Engine, error) {
	all, err := a.engines(store, set, talk)
	if err == nil && len(all) > 1 {
		err = usagef("this works on one engine at a time, and %d are set: choose one with --engine", len(all))
	}
	if err != nil {
		return nil, err
	}
	return all[0].Engine, nil
}

// engineAt returns one engine.
func (a *app) engineAt(store *cache.Store, set settings.Settings, at settings.NamedEngine, talk talker) (buildkit.Engine, error) {
	switch at.Address {
	case buildkit.EmbeddedKind:
		if store == nil { // of a tree in which nothing was ever built
			return neverRan{}, nil
		}
		e := a.embedded(store, set)
		e.Waiting = func() { talk.Waiting(otherEngine) }
		return e, nil
	case "docker":
		d := remote.Docker{}
		if d.Plain() {
			warnPlain(talk, d.String(), "give DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or a DOCKER_HOST that is ssh://")
		}
		return d, nil
	case "podman":
		return &remote.Podman{Image: set.Engine.PodmanImage}, nil
	}
	if strings.HasPrefix(at.Address, kubernetes.PodScheme+"://") {
		pod, err := kubernetes.NewPod(at.Address)
		if err != nil {
			return nil, usagef("the engine %q: %w", text.Redact(at.Address), err)
		}
		return pod, nil
	}
	if strings.HasPrefix(at.Address, kubernetes.Scheme+"://") {
		return a.pool(at.Address, talk)
	}
	return remoteEngine(at, talk)
}

// embedded returns the tree's embedded engine, whichever engine the settings select.
func (a *app) embedded(store *cache.Store, set settings.Settings) *embedded.Engine {
	return &embedded.Engine{
		Dir: store.Dir("engine"), Store: store, Runc: set.Engine.Runc, Snapshotter: set.Engine.Snapshotter,
		CacheSize: set.Engine.CacheSize, StandardGzip: set.Engine.Gzip == "go", Log: a.logger(),
		Waiting: plainTalk{a.stderr}.waitingForEngine,
	}
}

func remoteEngine(e settings.NamedEngine, talk talker) (buildkit.Engine, error) {
	r, err := remote.NewBuildkitd(e.Address, remote.TLS{
		Dir: e.TLSDir, CACert: e.TLSCACert, Cert: e.TLSCert, Key: e.TLSKey, ServerName: e.TLSServerName,
	})
	if err != nil {
		return nil, usagef("the engine %q: %w", text.Redact(e.Address), err)
	}
	if r.Plain() {
		warnPlain(talk, e.Address, "buildkitd and sx speak TLS (--tlscacert)")
	}
	return r, nil
}

func warnPlain(talk talker, engine, remedy string) {
	talk.Warn("the connection to " + engine + " is not protected: an attacker on the network can change the build; " + remedy)
}
