package enginetest

import (
	"os"
	"testing"
)

// programs are what all tests run.
var programs Programs

func TestMain(m *testing.M) {
	os.Exit(RunTests(m, &programs, os.Stderr))
}
