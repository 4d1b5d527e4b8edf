package signature

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestRealSignatures reads all signature files below SX_TEST_SIGNATURES, a folder of upstream's, and tells how many there
// are of each kind. It needs no key: all are refused for want of it, and each names its issuer and what it signs.
func TestRealSignatures(t *testing.T) {
	dir := os.Getenv("SX_TEST_SIGNATURES")
	if dir == "" {
		t.Skip("SX_TEST_SIGNATURES names no folder of signatures")
	}
	start := time.Now()
	folder := os.DirFS(dir)
	images, err := os.ReadDir(dir + "/stagex")
	if err != nil {
		t.Fatal(err)
	}
	kinds, n := map[string]int{}, 0
	for _, image := range images {
		repository, digest, err := SplitImagePath("stagex/" + image.Name())
		if err != nil {
			t.Log(err) // one folder was made by accident: "build.log@sha256="
			continue
		}
		files, err := ReadFiles(folder, repository, digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range (&Keyring{}).Judge(Image{Repository: repository, Digest: digest}, files, start).Findings {
			kinds[kind(repository, digest, f)]++
			n++
		}
	}
	t.Logf("%d files in %v", n, time.Since(start))
	for k, n := range kinds {
		t.Logf("%6d %s", n, k)
	}
}

func kind(repository, digest string, f Finding) string {
	if f.Why != ErrUnknownKey {
		return fmt.Sprint("refused: ", f.Why)
	}
	if f.Says == (Payload{}) {
		return "payload not understood"
	}
	return fmt.Sprintf("old=%v tag=%v repository=%v digest=%v issuer of %d digits",
		f.Says.Old, f.Says.Tag != "", f.Says.Repository == repository, f.Says.Digest == digest, len(f.Issuer))
}
