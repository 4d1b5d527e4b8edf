//go:build linux

package cluster_test

import (
	"fmt"
	"os"
	"testing"

	"codeberg.org/stagex/sx/buildkit/enginetest"
)

var programs enginetest.Programs

func TestMain(m *testing.M) {
	if os.Getenv("SX_TEST_KUBERNETES") == "" {
		fmt.Println("SX_TEST_KUBERNETES names no folder that scripts/kubernetes filled: no cluster is tested")
		return
	}
	os.Exit(enginetest.RunTests(m, &programs, os.Stderr))
}
