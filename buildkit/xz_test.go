package buildkit

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// XZMain reads what the real xz writes, with any of its checks and presets.
func TestXZMain(t *testing.T) {
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	plain := append(noise, strings.Repeat("again and again ", 1<<16)...)
	for _, args := range [][]string{{"-6"}, {"-0", "--check=crc32"}, {"-1e", "--check=sha256"}, {"-T2", "--block-size=65536"}, {"--check=none"}} {
		cmd := exec.Command("xz", append(args, "-c")...)
		cmd.Stdin = bytes.NewReader(plain)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatalf("xz %v: %v", args, err)
		}
		var out, stderr bytes.Buffer
		if code := XZMain(bytes.NewReader(packed), &out, &stderr); code != 0 || !bytes.Equal(out.Bytes(), plain) {
			t.Errorf("xz %v: code %d, %d bytes of %d, %s", args, code, out.Len(), len(plain), &stderr)
		}
		out.Reset()
		two := append(bytes.Clone(packed), packed...)
		if code := XZMain(bytes.NewReader(two), &out, &stderr); code != 0 || out.Len() != 2*len(plain) {
			t.Errorf("xz %v, twice: code %d, %d bytes, %s", args, code, out.Len(), &stderr)
		}
		for _, broken := range [][]byte{packed[:len(packed)-9], packed[:len(packed)/2], noise[:100], nil} {
			stderr.Reset()
			if code := XZMain(bytes.NewReader(broken), &out, &stderr); code == 0 || !strings.HasPrefix(stderr.String(), "xz: ") {
				t.Errorf("xz %v: %d broken bytes: code %d, %s", args, len(broken), code, &stderr)
			}
		}
	}
}
