package enginetest

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const sandbox = `
-- packages/core/status/package.toml --
[package]
name = "status"
-- packages/core/status/Containerfile --
FROM scratch AS build
COPY tool /
RUN ["/tool", "show", "/proc/self/status", ",", "show", "/proc/self/limits"]
RUN ["/tool", "mkdir", "/ok"]
FROM scratch
COPY --from=build /ok /
-- packages/core/reach/package.toml --
[package]
name = "reach"
-- packages/core/reach/Containerfile --
FROM scratch AS build
COPY tool /
RUN NETWORK ["/tool", "dial", "LOOPBACK", ",", "abstract", "NAME", ",", "mkdir", "/ok"]
FROM scratch
COPY --from=build /ok /
`

// What docs/engine.md says that a RUN can reach and do.
func TestSandbox(t *testing.T) {
	t.Parallel()
	loopback, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loopback.Close() })
	name := "sx-test-" + filepath.Base(filepath.Dir(t.TempDir()))
	abstract, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abstract.Close() })
	archive := strings.NewReplacer("LOOPBACK", loopback.Addr().String(), "NAME", name).Replace(sandbox)
	tree := NewTree(t, programs, "", archive)
	containerfile := tree.Read("packages/core/reach/Containerfile")
	for network, code := range map[string]int{"--network=default": 0, "--network=none": 1} {
		tree.Write("packages/core/reach/Containerfile", []byte(strings.Replace(containerfile, "NETWORK", network, 1)))
		tree.Start("build", "core-reach").Want(code)
	}
	tree.Sx("engine", "stop")
	tree.StartWith("prlimit", "--stack=1048576:", "--core=0:", "--fsize=1099511627776:", "--cpu=86400:", "--nproc=5000:",
		"--data=1099511627776:", tree.sx, "build", "core-status").Want(0)
	log := tree.Sx("log", "core-status")
	for _, limit := range []string{"cpu time", "file size", "data size", "core file size", "processes", "address space"} {
		if m := regexp.MustCompile("Max " + limit + ` +(\S+) +(\S+)`).FindStringSubmatch(log); m == nil || m[1] != m[2] {
			t.Errorf("of %s the limits are %q: that of the shell", limit, m)
		}
	}
	if !regexp.MustCompile("Max stack size +8388608 ").MatchString(log) {
		t.Errorf("stacks are not of 8 MiB:\n%s", log)
	}
	for _, want := range []string{"CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t0", "Seccomp:\t2"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
}

const refusedByBuildKit = `
-- packages/core/trigger/package.toml --
[package]
name = "trigger"
-- packages/core/trigger/Containerfile --
FROM scratch
COPY package.toml /
ONBUILD COPY package.toml /x
-- packages/core/from/package.toml --
[package]
name = "from"
-- packages/core/from/Containerfile --
# stagex/core-trigger-2 is another one

FROM stagex/core-trigger
COPY package.toml /
-- packages/core/copy/package.toml --
[package]
name = "copy"
-- packages/core/copy/Containerfile --
FROM scratch
COPY --from=stagex/core-trigger /package.toml /
-- packages/core/lint/package.toml --
[package]
name = "lint"
-- packages/core/lint/Containerfile --
FROM scratch AS build
ARG NAME=1
ENV X=$NAMES
copy package.toml /
-- packages/core/unused/package.toml --
[package]
name = "unused"
-- packages/core/unused/Containerfile --
FROM scratch
MAINTAINER somebody
COPY package.toml /
`

// An image with ONBUILD is refused as a dependency, and warnings of BuildKit's
// linter have their place.
func TestRefusedContainerfiles(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", refusedByBuildKit)
	for output, want := range map[string]string{
		"core-from":   `packages/core/from/Containerfile:3: the image of core-trigger has ONBUILD instructions ("COPY package.toml /x")`,
		"core-copy":   `packages/core/copy/Containerfile:2: the image of core-trigger has ONBUILD instructions`,
		"core-lint":   `packages/core/lint/Containerfile:3: Usage of undefined variable '$NAMES' (did you mean $NAME?) (BuildKit's check UndefinedVar); line 4: Command 'copy' should match the case of the command majority (uppercase) (BuildKit's check ConsistentInstructionCasing); StageX builds`,
		"core-unused": `packages/core/unused/Containerfile:2: Maintainer instruction is deprecated in favor of using label (BuildKit's check MaintainerDeprecated)`,
	} {
		log := tree.Start("build", output).Want(1).Stderr.String()
		if !strings.Contains(log, fmt.Sprintf("sx: failed   %s: %s", output, want)) {
			t.Errorf("%s: no %q in\n%s", output, want, log)
		}
	}
}
