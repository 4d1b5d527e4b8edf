package buildkit

import (
	"fmt"
)

// OtherSnapshotter says what a MISMATCH on such an engine may come from.
func OtherSnapshotter(name string) string {
	return fmt.Sprintf("the engine stacks layers with %q, which gives other bytes than overlayfs where a step hard-links a file of an earlier layer", name)
}
