package embedded

import (
	"os"
	"path/filepath"
)

// makeBin fills the folder that is the engine's whole PATH: the chosen runc,
// and xz, with which BuildKit unpacks archives (75 definitions ADD an .xz). Never
// the host's xz, which may know fewer filters: then the image is another one,
// silently. No unpigz: BuildKit would prefer the host's over its own gzip.
func makeBin(cfg childConfig) error {
	if err := os.Mkdir(binDir, 0o755); err != nil {
		return err
	}
	runc := filepath.Join(binDir, "runc")
	var err error
	if cfg.Runc == runcIsInside {
		err = writeRunc(runcInside, runc)
	} else {
		err = os.Symlink(cfg.Runc, runc)
	}
	if err != nil {
		return err
	}
	if err := makeVaried(cfg.Vary); err != nil {
		return err
	}
	// sx itself, told by its name: see [xzMain].
	return os.Symlink("/proc/self/exe", filepath.Join(binDir, xzName))
}
