//go:build !linux

package enginetest

import "testing"

// openKubernetes is for Linux, the only system on which a cluster runs.
func openKubernetes(t testing.TB, _ *Stock) Way {
	t.Fatal("a cluster needs Linux")
	return nil
}
