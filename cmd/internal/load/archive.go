package load

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// archive writes img as a tar that is an OCI layout and, for a docker without
// the containerd image store, which reads nothing else, a docker archive too.
// Root is what the layout's index.json names.
func archive(w io.Writer, img *cache.Image, root oci.Descriptor, name, tag string) error {
	index, err := indexJSON(root, name, tag)
	if err != nil {
		return err
	}
	manifest, err := manifestJSON(hostImage(img), name+":"+tag)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, file := range []struct{ name, data string }{
		{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`}, {"index.json", index}, {"manifest.json", manifest},
	} {
		if err := writeHeader(t, file.name, int64(len(file.data))); err != nil {
			return err
		}
		if _, err := io.WriteString(t, file.data); err != nil {
			return err
		}
	}
	for _, d := range img.Blobs {
		if err := writeBlob(t, img, d); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeHeader(t *tar.Writer, name string, size int64) error {
	return t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(1, 0), Format: tar.FormatPAX})
}

func writeBlob(t *tar.Writer, img *cache.Image, d oci.Descriptor) error {
	r, err := img.Open(d)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := writeHeader(t, blobPath(d), d.Size); err != nil {
		return err
	}
	if _, err := io.Copy(t, r); err != nil {
		return fmt.Errorf("sending blob %s: %w", d.Digest, err)
	}
	return nil
}

func blobPath(d oci.Descriptor) string { return "blobs/sha256/" + d.Digest.Hex() }

// indexJSON names the image as containerd and containers/image read it.
func indexJSON(root oci.Descriptor, name, tag string) (string, error) {
	type named struct {
		oci.Descriptor
		Annotations map[string]string `json:"annotations"`
	}
	data, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     oci.MediaTypeIndex,
		"manifests": []named{{root, map[string]string{
			oci.AnnotationName:    name + ":" + tag,
			oci.AnnotationRefName: tag,
		}}},
	})
	return string(data), err
}

// manifestJSON is what `docker load` of a dockerd without the containerd image
// store looks for; it knows one platform.
func manifestJSON(image cache.PlatformImage, name string) (string, error) {
	layers := []string{}
	for _, l := range image.Layers {
		layers = append(layers, blobPath(l))
	}
	data, err := json.Marshal([]map[string]any{{
		"Config": blobPath(image.Config), "RepoTags": []string{name}, "Layers": layers,
	}})
	return string(data), err
}

// hostImage is the image for this machine's architecture, or else the first.
func hostImage(img *cache.Image) cache.PlatformImage {
	for _, i := range img.Images {
		if i.Platform == "linux/"+runtime.GOARCH {
			return i
		}
	}
	return img.Images[0]
}
