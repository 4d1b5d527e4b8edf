package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoEngines = "[engines.big]\naddress = \"tcp://big:1234\"\njobs = 8\nmemory = \"64GiB\"\nplatform = \"linux/amd64\"\nlabels = \"fast, native\"\ntlsdir = \"/keys\"\n" +
	"[engines.small]\naddress = \"ssh://small\"\n"

// Engines are chosen by name and by address, in one setting or a flag for each.
func TestSelectedEngines(t *testing.T) {
	got, err := Load(Options{
		UserFile: writeUser(t, twoEngines+"[engine]\ntlsdir = \"/own\"\n"),
		Flags:    map[string]string{"engine.address": "big, embedded tcp://other:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	names, chosen := got.Selected()
	if diff := cmp.Diff([]string{"big", "", ""}, names); diff != "" {
		t.Error(diff)
	}
	want := []NamedEngine{
		{Address: "tcp://big:1234", Jobs: 8, Memory: 64 << 30, Platforms: []string{"linux/amd64"}, Labels: []string{"fast", "native"}, TLSDir: "/keys"},
		{Address: "embedded", TLSDir: "/own"}, {Address: "tcp://other:1", TLSDir: "/own"},
	}
	if diff := cmp.Diff(want, chosen); diff != "" {
		t.Error(diff)
	}
}

func TestEngineErrors(t *testing.T) {
	for _, tt := range []struct{ user, tree, flag, want string }{
		{user: twoEngines, flag: "bigg", want: `--engine: unknown engine "bigg": did you mean "big"?`},
		{user: twoEngines, flag: "big big", want: `the engine "big" is named twice`},
		{user: twoEngines, flag: "a/b", want: `or the NAME of [engines.NAME], not "a/b"`},
		{user: "[engine]\naddress = \"small\"\n", want: `stagex.toml:2: unknown engine "small"`},
		{user: "[engines.big]\njobs = 2\n", want: `[engines.big] has no address`},
		{user: "[engines.docker]\naddress = \"docker\"\n", want: `not "docker"`},
		{user: "[engines.a]\naddress = \"big\"\n", want: `want embedded, docker, podman or an address`},
		{user: "[engines.a]\nadress = \"docker\"\n", want: `did you mean "engines.a.address"?`},
		{user: "[packages.\"core-*\"]\nengine = \"a b\"\n", want: `want names or labels of engines`},
		{tree: "[packages.core-a]\nengine = \"big\"\n", want: `it belongs in the user's settings`},
		{tree: "[engines.big]\naddress = \"tcp://evil:1\"\n", want: `it belongs in the user's settings`},
	} {
		options := Options{FlagNames: map[string]string{"engine.address": "--engine"}}
		if tt.user != "" {
			options.UserFile = writeUser(t, tt.user)
		}
		if tt.tree != "" {
			options.Tree = treeOf(tt.tree)
		}
		if tt.flag != "" {
			options.Flags = map[string]string{"engine.address": tt.flag}
		}
		if _, err := Load(options); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v:\nerror %v", tt, err)
		}
	}
}
