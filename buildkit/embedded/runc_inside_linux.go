package embedded

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// A release carries a runc of its own, which scripts/release puts beside this
// file before it builds with the tag embed_runc. Other builds carry none:
// runcInside, the compressed program, is empty there.

// runcVersion is set by scripts/release, with -X.
var runcVersion = "unknown"

// RuncInside is the version of the runc that this sx carries, "" for none.
func RuncInside() string {
	if len(runcInside) == 0 {
		return ""
	}
	return runcVersion
}

// writeRunc writes the carried program to path, in a folder that vanishes with
// the engine: nothing is kept, and nothing can be half there.
func writeRunc(archive []byte, path string) error {
	r, err := zstd.NewReader(bytes.NewReader(archive), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("unpacking the runc inside sx: %w", err)
	}
	return nil
}
