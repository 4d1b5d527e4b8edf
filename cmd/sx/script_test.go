package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"codeberg.org/stagex/sx/buildkit/embedded"
	"codeberg.org/stagex/sx/preseed/registrytest"
)

var update = flag.Bool("update", false, "rewrite what scripts compare with by what sx prints")

// TestMain makes the test binary sx: scripts find it in PATH, and it re-executes
// itself as the engine and as the programs that the engine starts.
func TestMain(m *testing.M) {
	if code, ok := embedded.Program(os.Args, os.Stdin, os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){"sx": func() { os.Exit(Main()) }})
}

// TestScript runs what needs no engine: testdata/script/<verb>_<topic>.txt.
func TestScript(t *testing.T) {
	testscript.Run(t, params("testdata/script"))
}

// TestEngine runs what builds: testdata/engine/<verb>_<topic>.txt.
func TestEngine(t *testing.T) {
	needEngine(t)
	testscript.Run(t, engineParams("testdata/engine", t))
}

// TestUpstream compares with StageX's own make and scripts, which a checkout
// named by SX_TEST_TREE has: testdata/upstream/<what>.txt. It needs make,
// python3 and git.
func TestUpstream(t *testing.T) {
	tree := os.Getenv("SX_TEST_TREE")
	if tree == "" {
		t.Skip("SX_TEST_TREE names no StageX checkout")
	}
	needEngine(t)
	p := engineParams("testdata/upstream", t)
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("STAGEX", tree)
		return setup(env)
	}
	testscript.Run(t, p)
}

// engineParams are params for scripts that start engines.
func engineParams(dir string, t *testing.T) testscript.Params {
	p := params(dir)
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		release := engines.take()
		env.Defer(release)
		env.Defer(func() { stopEngines(t, env.WorkDir) })
		return setup(env)
	}
	return p
}

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		Setup:               setUp,
		Cmds:                commands,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	}
}

// setUp gives a script a home of its own and hides the user's settings, also
// those of git.
func setUp(env *testscript.Env) error {
	env.Values[mirrorKey{}] = &mirrorLog{}
	env.Values[servedKey{}] = &served1{}
	env.Values[elsewhereKey{}] = &elsewhere1{}
	home := filepath.Join(env.WorkDir, "home")
	for key, value := range map[string]string{
		"HOME":            home,
		"XDG_STATE_HOME":  filepath.Join(home, "state"),
		"XDG_CONFIG_HOME": filepath.Join(home, "config"),
		"XDG_CACHE_HOME":  filepath.Join(home, "cache"),

		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.org",
		"GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.org",

		"NO_PROXY": "127.0.0.1",
	} {
		env.Setenv(key, value)
	}
	return os.MkdirAll(home, 0o700)
}

// condition knows [root]: the script runs as root, who may give files away; and
// [noregistry]: this machine is not meant to have docker's registry.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "noregistry":
		return os.Getenv(registrytest.Left) == "1", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}
