//go:build !linux

package tree

import (
	"io/fs"
	"os"
)

// beneathRoot returns root's FS.
func beneathRoot(root *os.Root) (tree fs.FS, close func() error) {
	return root.FS(), func() error { return nil }
}
