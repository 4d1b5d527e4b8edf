// Package image writes the images that the tests' engines run in.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// Image is an image of one layer for linux/amd64.
type Image struct {
	Name       string // with its tag
	Entrypoint []string
	Files      map[string]string // path in the image, without a leading slash -> file of this machine, mode 0755
	Volumes    []string
}

// BuildKit returns an image of a stock buildkitd and its buildctl, with this machine's
// runc and xz and their libraries. Its state is a volume, as in BuildKit's own image,
// because overlayfs does not work on the container's overlayfs.
func BuildKit(name, buildkitd, buildctl string) (Image, error) {
	i := Image{
		Name: name, Entrypoint: []string{"/usr/bin/buildkitd"}, Volumes: []string{"/var/lib/buildkit"},
		Files: map[string]string{"usr/bin/buildkitd": buildkitd, "usr/bin/buildctl": buildctl},
	}
	for _, name := range []string{"runc", "xz"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return i, err
		}
		i.Files["usr/bin/"+name] = path
		for _, lib := range libraries(path) {
			i.Files[strings.TrimPrefix(lib, "/")] = lib
		}
	}
	return i, nil
}

// Write writes the image to a file, in the format of docker save.
func (i Image) Write(path string) error {
	layer, err := i.layer()
	if err != nil {
		return err
	}
	volumes := map[string]struct{}{}
	for _, v := range i.Volumes {
		volumes[v] = struct{}{}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Entrypoint": i.Entrypoint, "Env": []string{"PATH=/usr/bin"}, "Volumes": volumes},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{i.Name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	var all bytes.Buffer
	tw := tar.NewWriter(&all)
	for _, f := range []struct {
		name string
		data []byte
	}{{"config.json", config}, {"layer.tar", layer}, {"manifest.json", manifest}} {
		if err := add(tw, f.name, 0o644, f.data); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, all.Bytes(), 0o644)
}

// layer returns the archive of the image's files, of a user root and of /tmp.
func (i Image) layer() ([]byte, error) {
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		data, err := os.ReadFile(i.Files[name])
		if err != nil {
			return nil, err
		}
		if err := add(tw, name, 0o755, data); err != nil {
			return nil, err
		}
	}
	if err := add(tw, "etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n")); err != nil {
		return nil, err
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, err
	}
	err := tw.Close()
	return layer.Bytes(), err
}

func add(w *tar.Writer, name string, mode int64, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// libraries returns the libraries that a program loads when it starts; none if it is
// static.
func libraries(program string) (paths []string) {
	out, _ := exec.Command("ldd", program).Output() // fails for a static program
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		paths = append(paths, m[1])
	}
	return paths
}
