package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/doctor"
	"codeberg.org/stagex/sx/cmd/internal/gpg"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/preseed"
)

type doctorOptions struct{ json, offline bool }

func newDoctorCommand(a *app) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check what sx needs of this machine, and say what to type",
		Long: `Prints a line for each thing that sx needs or uses: "ok", "limit" if sx builds without it
but something works worse or not at all, or "stop" if it keeps sx from building. Below the
last two stands what to type.

The engine of the settings, or that of --engine, is started (the embedded one with a state
of its own, which is deleted) and builds two images of some hundred bytes: only that shows
whether this machine runs programs of StageX's platforms and makes its bytes. Registries
are asked whether they answer, without credentials; credential helpers are asked for the
user's. Nothing is waited for longer than three minutes, and nothing of the tree is run.
In no tree, what is about a tree is left out.`,
		Example: `  sx doctor
  sx doctor --engine docker
  sx doctor --json | jq -r '.lines[] | select(.state != "ok") | .remedy'`,
		Annotations: ownWords(codes(exitFailed, exitMachine), map[int]string{
			exitOK: "nothing keeps sx from building", exitMachine: `a line says "stop"`,
		}),
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDoctor(c.Context(), a, changedFlags(c), o)
		},
	}
	addJSONFlag(c, &o.json, "the lines, and whether sx can build")
	c.Flags().BoolVar(&o.offline, "offline", false, "ask no proxy and no registry")
	addEngineFlags(c)
	return c
}

func runDoctor(ctx context.Context, a *app, flags map[string]string, o doctorOptions) (err error) {
	p := &patient{app: a}
	defer func() { err = errors.Join(err, p.close()) }()
	m, err := p.machine(flags)
	if err != nil {
		return err
	}
	m.Offline = o.offline
	lines := []doctor.Line{}
	err = doctor.Examine(ctx, m, func(l doctor.Line) {
		lines = append(lines, l)
		if !o.json {
			l.Print(a.stdout, paintState)
		}
	})
	if err != nil {
		return err
	}
	stops := doctor.Stops(lines)
	switch {
	case o.json:
		err = printJSON(a.stdout, map[string]any{"fit": stops == 0, "lines": lines})
	case stops == 0:
		fmt.Fprintf(a.stdout, "sx can build here, on %s\n", text.Field(m.Engine.Name))
	default:
		fmt.Fprintf(a.stdout, "sx cannot build here: %s\n", count(stops, "stop"))
	}
	if err == nil && stops > 0 {
		err = codeError(exitMachine)
	}
	return err
}

// paintState colours the state of a line on a terminal.
func paintState(s doctor.State) string {
	colors := map[doctor.State]string{doctor.OK: "\x1b[32m", doctor.Limit: "\x1b[33m", doctor.Stop: "\x1b[1;31m"}
	if !colored() {
		return string(s)
	}
	return colors[s] + string(s) + "\x1b[0m"
}

// patient is the machine, the tree and the settings that a doctor looks at.
type patient struct {
	*app
	dir  string // of the tree, "" for none
	set  settings.Settings
	temp string // a folder in the place of a tree, "" if there is one

	open sync.Once
	kept *cache.Store
	err  error
}

// machine describes this machine for the doctor.
func (p *patient) machine(flags map[string]string) (doctor.Machine, error) {
	m := doctor.This()
	var none *tree.NoTreeError
	var old *tree.OldTreeError
	if p.dir, m.NoTree = p.treeDir(); m.NoTree != nil && !errors.As(m.NoTree, &none) && !errors.As(m.NoTree, &old) {
		return m, m.NoTree
	}
	p.set, m.Wrong = loadSettings(p.dir, flags)
	if m.Wrong != nil {
		p.set = settings.Default()
	}
	client, err := preseed.NewClient(registryClient(p.set))
	if err != nil {
		m.Wrong = errors.Join(m.Wrong, err)
		client, _ = preseed.NewClient(preseed.ClientOptions{})
	}
	m.Settings = p.set
	m.Settings.Build, m.Memory = p.set.Build.OfMachine(), settings.MachineMemory()
	m.Unknown = settings.UnknownEnv(os.Environ())
	m.Tree, m.State = p.dir, os.TempDir()
	if p.dir != "" {
		m.State = p.set.Paths.StateDir(p.dir)
	}
	m.Store = func() error {
		s, err := p.store()
		if err == nil {
			err = s.ReadOnly()
		}
		return err
	}
	m.History = func() error {
		h, err := history.Open(p.dir)
		if err == nil {
			err = h.Close()
		}
		return err
	}
	m.Reach, m.Login = client.Reach, login
	m.GPG = gpg.NewPrograms(os.Getenv, nil).Version
	m.Engine, err = p.engineOf()
	return m, err
}

// login asks the user's credential files and helpers for the credentials for a registry.
func login(ctx context.Context, host string) (user string, wrong []string) {
	var mu sync.Mutex
	keychain := preseed.Logins(os.Getenv, func(said string) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, said)
	}, doctor.HelperTime)
	c := keychain.Find(ctx, host, "")
	if user = c.Username; user == "" && c != (preseed.Credentials{}) {
		user = "the owner of a token"
	}
	mu.Lock()
	defer mu.Unlock()
	return user, wrong
}

// store opens the store of the tree, or of a temporary folder if there is no tree.
func (p *patient) store() (*cache.Store, error) {
	p.open.Do(func() {
		dir, o := p.dir, cache.Options{KeyFile: keyFile(), Log: p.logger()}
		if dir != "" {
			o.Dir = p.set.Paths.StateDir(dir)
		} else {
			if p.temp, p.err = os.MkdirTemp("", "sx-doctor-"); p.err != nil {
				return
			}
			dir, o.KeyFile = p.temp, filepath.Join(p.temp, "key")
		}
		p.kept, p.err = cache.Open(dir, o)
	})
	return p.kept, p.err
}

func (p *patient) close() (err error) {
	if p.kept != nil {
		err = p.kept.Close()
	}
	if p.temp != "" {
		err = errors.Join(err, os.RemoveAll(p.temp))
	}
	return err
}

// engineOf describes the engine of the settings.
func (p *patient) engineOf() (doctor.Engine, error) {
	if _, only := p.set.Embedded(); only {
		e := &embedded.Engine{Runc: p.set.Engine.Runc}
		return doctor.Engine{Name: "the embedded engine", Embedded: true, Needs: e.Needs, Try: p.tryEmbedded}, nil
	}
	e, err := p.engine(nil, p.set, plainTalk{p.stderr})
	if err != nil {
		return doctor.Engine{}, err
	}
	return doctor.Engine{Name: buildkit.EngineName(e), Try: func(ctx context.Context) (doctor.Trial, error) {
		store, err := p.store()
		if err != nil {
			return doctor.Trial{}, err
		}
		return doctor.Try(ctx, e, store, p.logger())
	}}, nil
}

// tryEmbedded tries an embedded engine with a state of its own.
func (p *patient) tryEmbedded(ctx context.Context) (t doctor.Trial, err error) {
	store, err := p.store()
	if err == nil {
		err = store.ReadOnly()
	}
	if err != nil {
		return t, err
	}
	e, end, err := ownEngine(p.app, store, p.set, "doctor")
	if err != nil {
		return t, err
	}
	defer func() {
		// What is left is in a folder that the next sx removes.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, end(ctx))
	}()
	return doctor.Try(ctx, e, store, p.logger())
}
