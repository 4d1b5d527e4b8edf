package buildkit

import (
	"os"
	"os/exec"
	"path/filepath"
)

// makeBin fills the folder that is the engine's whole PATH: the chosen runc,
// and xz, with which BuildKit unpacks archives (75 definitions ADD an .xz). No
// unpigz or igzip: BuildKit would prefer the host's over its own gzip.
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
	xz := hostXZ()
	if xz == "" {
		xz = "/proc/self/exe" // sx itself, told by its name: see [XZMain]
	}
	return os.Symlink(xz, filepath.Join(binDir, "xz"))
}

func hostXZ() string {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin"} {
		if p, err := exec.LookPath(filepath.Join(dir, "xz")); err == nil {
			return p
		}
	}
	return ""
}
