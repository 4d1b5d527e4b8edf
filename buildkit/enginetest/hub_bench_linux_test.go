package enginetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/preseed/registrytest"
)

// heavyTree has an output of so many MiB that do not compress, and some that are built from
// it and small.
func heavyTree(t testing.TB, mib, dependents int) *Tree {
	t.Helper()
	var archive strings.Builder
	fmt.Fprintf(&archive, "-- packages/core/heavy/package.toml --\n[package]\nname = \"heavy\"\n-- packages/core/heavy/Containerfile --\n"+
		"FROM scratch AS build\nCOPY tool /\nRUN --network=none [\"/tool\", \"noise\", \"%d\", \"/noise\"]\nFROM scratch\nCOPY --from=build /tool /noise /\n", mib)
	for i := range dependents {
		fmt.Fprintf(&archive, "-- packages/user/u%[1]d/package.toml --\n[package]\nname = \"u%[1]d\"\n-- packages/user/u%[1]d/Containerfile --\n"+
			"FROM stagex/core-heavy AS build\nCOPY own /\nRUN --network=none [\"/tool\", \"sum\", \"/noise\", \"/sum\"]\n"+
			"FROM scratch\nCOPY --from=build /own /sum /\n-- packages/user/u%[1]d/own --\n%[1]d\n", i)
	}
	tree := NewTree(t, programs, "", archive.String())
	tree.Patience = 10 * patience
	return tree
}

// hubBench is a machine with sx or bake, two with engines and one with a registry, each with
// a link of 1 Gbit/s to one network.
type hubBench struct {
	*Tree
	b                       *testing.B
	machine, registry, a, z *Host
	engines                 [2]*Stock
	dir                     string // of the registry
	env                     []string
}

const hubPort = ":5000"

func newHubBench(b *testing.B, mib int) *hubBench {
	b.Helper()
	if err := errors.Join(programs.BuildStock("buildkitd", "buildctl"), programs.buildBuildx()); err != nil {
		b.Fatal(err)
	}
	n := NewNetwork(b)
	h := &hubBench{Tree: heavyTree(b, mib, 7), b: b, dir: b.TempDir()}
	h.machine, h.registry, h.a, h.z = n.Join("1gbit"), n.Join("1gbit"), n.Join("1gbit"), n.Join("1gbit")
	n.Forward(h.machine, h.registry, h.a, h.z)
	hub := h.registry.Addr + hubPort
	r, err := registrytest.StartAt(h.dir, false, hub, inside(h.registry.pid)...)
	h.must(err)
	b.Cleanup(r.Close)
	config := filepath.Join(b.TempDir(), "buildkitd.toml")
	h.must(os.WriteFile(config, fmt.Appendf(nil, "[registry.%q]\nhttp = true\n", hub), 0o600))
	user := fmt.Sprintf("[registries]\nplain_http = %q\n", hub)
	for i, host := range []*Host{h.a, h.z} {
		s := &Stock{certs: MutualTLS(b), host: host.pid, env: []string{"NO_PROXY=*"}}
		s.start(b, programs, "--config", config, "--addr", "tcp://"+host.Addr+":1234", "--tlscacert", s.certs+"/ca.pem",
			"--tlscert", s.certs+"/server.pem", "--tlskey", s.certs+"/server-key.pem")
		h.engines[i] = s
		user += fmt.Sprintf("[engines.e%d]\naddress = \"tcp://%s:1234\"\njobs = 4\ntlsdir = %q\ntlsservername = \"builder.example.org\"\n", i, host.Addr, s.certs)
	}
	file := filepath.Join(strings.TrimPrefix(h.Env[0], "HOME="), "sx", "stagex.toml")
	h.must(errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(user), 0o600)))
	h.env = append(h.Env, "NO_PROXY=*", "DOCKER_CONFIG="+b.TempDir(), "BUILDX_CONFIG="+b.TempDir(),
		"BUILDX_NO_DEFAULT_ATTESTATIONS=1", "BUILDX_BAKE_ENTITLEMENTS_FS=0")
	h.createBuilder()
	return h
}

// createBuilder makes a builder of both engines.
func (h *hubBench) createBuilder() {
	for i, host := range []*Host{h.a, h.z} {
		args := []string{programs.path("buildx"), "create", "--name=two", "--driver=remote", "--node=e" + strconv.Itoa(i)}
		certs := h.engines[i].certs
		args = append(args, "--driver-opt=cacert="+certs+"/ca.pem,cert="+certs+"/cert.pem,key="+certs+"/key.pem,servername=builder.example.org")
		if i > 0 {
			args = append(args, "--append")
		}
		h.run(append(args, "tcp://"+host.Addr+":1234")...)
	}
}

// run runs a program on the machine, and returns its output.
func (h *hubBench) run(args ...string) string {
	h.b.Helper()
	line := inside(h.machine.pid, args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Env = h.Dir, append(os.Environ(), h.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.b.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// heavyAfter returns, of the rawjson of sx, how many seconds after its beginning core-heavy was
// finished; 0 of the output of bake.
func heavyAfter(began time.Time, out string) float64 {
	for line := range strings.Lines(out) {
		var e struct {
			Time       time.Time
			Event, Ref string
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Event == "build_finish" && e.Ref == "core-heavy" {
			return e.Time.Sub(began).Seconds()
		}
	}
	return 0
}

// reset empties engines and tree.
func (h *hubBench) reset() {
	for _, s := range h.engines {
		s.Kill()
		h.must(os.RemoveAll(filepath.Join(s.Dir, "root")))
		s.Start()
	}
	h.must(errors.Join(os.RemoveAll(h.Path("out")), os.RemoveAll(h.Path(".sx"))))
}

// bakeFile writes what bake is to do: each output as sx asks for it, linked to those that it
// is built from, and pushed to a repository.
func (h *hubBench) bakeFile(repository string) string {
	targets := map[string]any{}
	for _, s := range h.Requests() {
		r := s.Request
		h.mkdir(r.Fetch)
		contexts := map[string]string{"fetch": r.Fetch}
		for name, path := range r.Contexts {
			contexts[name] = "target:" + filepath.Base(path)
		}
		output := "type=image,push=true,rewrite-timestamp=true,force-compression=true,oci-mediatypes=true,name=" + repository + ":" + s.Ref
		for k, v := range r.Annotations {
			output += ",annotation." + k + "=" + v
		}
		targets[s.Ref] = map[string]any{
			"context": r.Context, "dockerfile": "Containerfile", "contexts": contexts, "args": r.BuildArgs, "platforms": r.Platforms,
			"ulimits": r.Ulimits, "output": []string{output},
		}
	}
	data, err := json.Marshal(map[string]any{"target": targets, "group": map[string]any{"default": map[string]any{"targets": slices.Sorted(maps.Keys(targets))}}})
	h.must(err)
	h.Write("bake.json", data)
	return h.Path("bake.json")
}

// manifests lists the digests of a repository in the registry.
func (h *hubBench) manifests(repository string) (digests []string) {
	entries, _ := os.ReadDir(filepath.Join(h.dir, "data/docker/registry/v2/repositories", repository, "_manifests/revisions/sha256"))
	for _, e := range entries {
		digests = append(digests, e.Name())
	}
	return digests
}

// BenchmarkHub builds an output of 500 MB (SX_BENCH_MIB) and seven that are built from it on
// two stock engines that have nothing: by sx with a hub and without, and by docker buildx
// bake, in turns. It reports seconds, and the megabytes that the kernel counts on the link of
// the machine that sx or bake runs on.
func BenchmarkHub(b *testing.B) {
	mib, err := strconv.Atoi(cmp.Or(os.Getenv("SX_BENCH_MIB"), "477"))
	if err != nil {
		b.Fatal(err)
	}
	h := newHubBench(b, mib)
	hub := h.registry.Addr + hubPort + "/"
	build := []string{programs.Sx(), "build", "--all", "--progress=rawjson", "--engine", "e0", "--engine", "e1"}
	took, moved := map[string]float64{}, map[string]float64{}
	for round := 0; b.Loop(); round++ {
		repository := func(by string) string { return fmt.Sprintf("%s%d", by, round) }
		for by, args := range map[string][]string{
			"hub":    append(build[:len(build):len(build)], "--hub", "oci://"+hub+repository("hub"), "--results", "none"),
			"direct": build,
			"bake":   {programs.path("buildx"), "bake", "--builder=two", "--progress=plain", "--file=" + h.bakeFile(hub+repository("bake"))},
		} {
			h.reset()
			before, began := h.traffic(), time.Now()
			out := h.run(args...)
			seconds := time.Since(began).Seconds()
			after := h.traffic()
			for i := range after {
				after[i] -= before[i]
			}
			b.Logf("round %d, %s: %.1f s, core-heavy after %.1f; MB received and sent by its machine %v, the engines %v %v, the registry %v", round, by, seconds, heavyAfter(began, out),
				after[0:2], after[2:4], after[4:6], after[6:8])
			took[by] += seconds
			moved[by] += after[0] + after[1]
		}
		if ours, theirs := h.manifests(repository("hub")), h.manifests(repository("bake")); len(ours) == 0 || !slices.Equal(ours, theirs) {
			b.Errorf("digests %v by sx, %v by bake", ours, theirs)
		}
	}
	for by := range took {
		b.ReportMetric(took[by]/float64(b.N), by+"-s")
		b.ReportMetric(moved[by]/float64(b.N), by+"-MB")
	}
}

// traffic returns the megabytes received and sent so far by the machine, each engine and the
// registry.
func (h *hubBench) traffic() (all []float64) {
	for _, host := range []*Host{h.machine, h.a, h.z, h.registry} {
		received, sent := host.Bytes()
		all = append(all, float64(received)/1e6, float64(sent)/1e6)
	}
	return all
}
