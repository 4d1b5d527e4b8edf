package inspect

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	umoci "github.com/opencontainers/umoci/oci/layer"
	"github.com/opencontainers/umoci/pkg/fseval"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Unpacked says what Unpack wrote.
type Unpacked struct {
	Devices int // that became empty files, because only root can make devices
}

// Unpack writes the files of an image into a new folder, and puts it at dir once it is
// complete and synced; dir may be an empty folder. As root, files get the owners that the
// image gives; else all belong to the user, and devices become empty files. No link leads
// out of the folder while it is written; later its own links may.
func Unpack(ctx context.Context, img Image, dir string) (u Unpacked, err error) {
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".sx-unpack-")
	if err != nil {
		return u, err
	}
	defer func() {
		if err != nil {
			fseval.Rootless.RemoveAll(temp) // folders without permissions too
		}
	}()
	root := filepath.Join(temp, "root") // whose mode the image sets, so that temp stays private
	if err := os.Mkdir(root, 0o755); err != nil {
		return u, err
	}
	for i, d := range img.Layers {
		if err := unpackLayer(ctx, img, d, root, &u); err != nil {
			return u, fmt.Errorf("unpacking layer %d (%s): %w", i+1, d.Digest, err)
		}
	}
	if err := syncAll(root); err != nil {
		return u, err
	}
	if err := unix.Rename(root, dir); err != nil { // os.Rename refuses an empty folder
		return u, fmt.Errorf("renaming the unpacked folder to %q: %w", dir, err)
	}
	return u, errors.Join(os.Remove(temp), disk.SyncDir(filepath.Dir(dir)))
}

func unpackLayer(ctx context.Context, img Image, d oci.Descriptor, root string, u *Unpacked) error {
	rootless := os.Geteuid() != 0
	extractor := umoci.NewTarExtractor(&umoci.UnpackOptions{OnDiskFormat: umoci.DirRootfs{MapOptions: umoci.MapOptions{Rootless: rootless}}})
	return eachEntry(ctx, img.Blobs, d, func(_ int64, h *tar.Header, r io.Reader) error {
		if rootless && (h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock) {
			u.Devices++
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			return nil
		}
		return extractor.UnpackEntry(root, h, r)
	})
}
