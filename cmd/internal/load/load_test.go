package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// program puts a shell script under a name into a PATH of its own. It sees
// $LOG, a folder for what it wants to tell.
func program(t *testing.T, name, script string) (log string) {
	t.Helper()
	log = t.TempDir()
	bin := t.TempDir()
	text := fmt.Sprintf("#!/bin/sh\nLOG=%s\nif [ \"$1\" = --version ]; then echo %s version 1; exit; fi\nif [ \"$1\" = version ]; then [ ! -e $LOG/dead ]; exit; fi\n%s\n", log, name, script)
	if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	return log
}

// unpack is a program that keeps what it is fed and tells what else it is asked.
const unpack = `echo "$@" >>$LOG/asked
if [ "$1" = load ]; then mkdir $LOG/layout && tar -C $LOG/layout -xf -; fi`

// output puts an image for the platforms into out/ of a new tree; index.json
// says that it is somebody else's.
func output(t *testing.T, platforms ...string) (*cache.Store, *cache.Image) {
	t.Helper()
	tree := t.TempDir()
	s, err := cache.Open(tree, cache.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage("core-a")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	put := func(mediaType string, v any) map[string]any {
		data, ok := v.([]byte)
		if !ok {
			data, _ = json.Marshal(v)
		}
		d := oci.DigestOf(data)
		if err := st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"mediaType": mediaType, "digest": d, "size": len(data)}
	}
	var manifests []any
	for _, p := range platforms {
		os, arch, _ := strings.Cut(p, "/")
		platform := map[string]any{"os": os, "architecture": arch}
		m := put(oci.MediaTypeManifest, map[string]any{
			"schemaVersion": 2, "mediaType": oci.MediaTypeManifest,
			"config": put("application/vnd.oci.image.config.v1+json", platform),
			"layers": []any{put("application/vnd.oci.image.layer.v1.tar+gzip", bytes.Repeat([]byte(p), 100000))},
		})
		m["platform"] = platform
		manifests = append(manifests, m)
	}
	index := put(oci.MediaTypeIndex, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": manifests,
	})
	root := oci.Descriptor{MediaType: oci.MediaTypeIndex, Digest: index["digest"].(oci.Digest), Size: int64(index["size"].(int))}
	if _, err := st.Commit(t.Context(), root, map[string]string{oci.AnnotationName: "docker.io/library/debian:stable"}); err != nil {
		t.Fatal(err)
	}
	img, err := s.Image("core-a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(img.Close)
	return s, img
}

func loadInto(t *testing.T, name string, img *cache.Image) error {
	t.Helper()
	tool, err := Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return tool.Load(t.Context(), img, "1.0")
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// What docker is given is a layout that holds every blob, under our names.
func TestDockerGetsAllPlatformsUnderOurNames(t *testing.T) {
	log := program(t, "docker", unpack)
	_, img := output(t, "linux/arm64", "linux/amd64")
	if err := loadInto(t, "", img); err != nil {
		t.Fatal(err)
	}
	want := "load -q\ntag docker.io/stagex/core-a:1.0 docker.io/stagex/core-a:local\n"
	if got := read(t, log, "asked"); got != want {
		t.Errorf("docker was asked for %q, want %q", got, want)
	}
	for _, d := range img.Blobs {
		if got := oci.DigestOf([]byte(read(t, log, "layout", blobPath(d)))); got != d.Digest {
			t.Errorf("blob %s arrived as %s", d.Digest, got)
		}
	}
	index := read(t, log, "layout", "index.json")
	if !strings.Contains(index, img.Root.Digest.String()) || !strings.Contains(index, "docker.io/stagex/core-a:1.0") || strings.Contains(index, "debian") {
		t.Errorf("index.json is %s", index)
	}
	var archive []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal([]byte(read(t, log, "layout", "manifest.json")), &archive); err != nil {
		t.Fatal(err)
	}
	host := hostImage(img)
	if len(archive) != 1 || archive[0].Config != blobPath(host.Config) || len(archive[0].Layers) != 1 || archive[0].RepoTags[0] != "docker.io/stagex/core-a:1.0" {
		t.Errorf("manifest.json is %+v", archive)
	}
}

// Podman refuses an index without this machine's platform, and is given the image.
func TestPodmanGetsOneImage(t *testing.T) {
	log := program(t, "podman", unpack)
	_, img := output(t, "linux/386")
	if err := loadInto(t, "podman", img); err != nil {
		t.Fatal(err)
	}
	index := read(t, log, "layout", "index.json")
	if !strings.Contains(index, img.Digest().String()) || strings.Contains(index, img.Root.Digest.String()) {
		t.Errorf("index.json is %s", index)
	}
}

func TestPodmanUnderDockersName(t *testing.T) {
	program(t, "docker", "exit 1")
	bin, _, _ := strings.Cut(os.Getenv("PATH"), ":")
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\necho podman version 5.0.0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tool, err := Find(t.Context(), "docker")
	if err != nil || !tool.podman {
		t.Errorf("got %+v, %v", tool, err)
	}
}

// The program's own words are the reason, also where it reads nothing.
func TestLoadFails(t *testing.T) {
	program(t, "docker", "echo cannot connect to the daemon >&2; exit 7")
	_, img := output(t, "linux/amd64")
	err := loadInto(t, "docker", img)
	if err == nil || !strings.Contains(err.Error(), "cannot connect to the daemon") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("got %v", err)
	}
}

// A blob that is damaged while it is sent ends the program before it could take
// what came for the whole.
func TestLoadDamaged(t *testing.T) {
	log := program(t, "docker", "cat >/dev/null; echo took it >$LOG/took")
	s, img := output(t, "linux/amd64")
	layer := filepath.Join(filepath.Dir(s.Dir()), "out", "core-a", blobPath(img.Images[0].Layers[0]))
	if err := os.Chmod(layer, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(layer, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("x"), 5000)
	f.Close()
	err = loadInto(t, "docker", img)
	if err == nil || !strings.Contains(err.Error(), "sending blob "+img.Images[0].Layers[0].Digest.String()) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(log, "took")); err == nil {
		t.Error("the program took a damaged image for whole")
	}
}

// A docker without its daemon is passed over for a podman that answers.
func TestFindWhatAnswers(t *testing.T) {
	dead := program(t, "docker", "exit 1")
	if err := os.WriteFile(filepath.Join(dead, "dead"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path, _, _ := strings.Cut(os.Getenv("PATH"), ":") // without a podman of this machine
	t.Setenv("PATH", path)
	for _, name := range []string{"", "docker"} {
		_, err := Find(t.Context(), name)
		var missing *MissingError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), "docker) does not answer: exit status 1") {
			t.Errorf("Find(%q) without an answer: %v", name, err)
		}
	}
	program(t, "podman", "exit 1")
	bin, _, _ := strings.Cut(os.Getenv("PATH"), ":")
	t.Setenv("PATH", path+":"+bin)
	if tool, err := Find(t.Context(), ""); err != nil || !tool.podman {
		t.Errorf("found %v (%v), want podman", tool, err)
	}
	if tool, err := Find(t.Context(), "docker"); err == nil {
		t.Errorf("found %v, and docker was named", tool)
	}
}

// A program that hangs is given up with the context, and no sooner than it ends.
func TestFindIsCancelled(t *testing.T) {
	program(t, "docker", "")
	bin, _, _ := strings.Cut(os.Getenv("PATH"), ":")
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	cancel(cause)
	if _, err := Find(ctx, "docker"); err != cause {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestFindNothing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Find(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "docker or podman") {
		t.Errorf("got %v", err)
	}
}
