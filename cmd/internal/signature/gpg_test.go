package signature

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the table of docs/signatures.md")

// TestGPG holds each case against the gpg of this machine: what it says is a column of the table.
func TestGPG(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("no gpg")
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			data, files := c.make(writer{t})
			if got := gpgSays(t, data, files[len(files)-1]); got != c.gpg {
				t.Errorf("gpg says %q, the table %q", got, c.gpg)
			}
		})
	}
}

// gpgSays returns the words of gpg's status lines that tell what a file is worth, and the exit code.
func gpgSays(t *testing.T, keys, file []byte) string {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	gpg := func(stdin []byte, args ...string) (string, int) {
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--no-tty", "--no-autostart", "--status-fd", "1",
			"--faked-system-time", fmt.Sprint(today.Unix())}, args...)...)
		cmd.Stdin = bytes.NewReader(stdin)
		cmd.WaitDelay = time.Minute
		out, _ := cmd.Output()
		return string(out), cmd.ProcessState.ExitCode()
	}
	gpg(keys, "--import")
	name := filepath.Join(home, "file")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := gpg(nil, "--verify", name)
	telling := []string{"GOODSIG", "BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG", "NO_PUBKEY", "VALIDSIG", "NODATA", "UNEXPECTED"}
	var words []string
	for line := range strings.SplitSeq(out, "\n") {
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(telling, f[1]) && !slices.Contains(words, f[1]) {
			words = append(words, f[1])
		}
	}
	return strings.Join(append(words, fmt.Sprint(code)), " ")
}

// The table of docs/signatures.md is the one above.
const (
	page       = "../../../docs/signatures.md"
	tableBegin = "<!-- the cases: go test ./cmd/internal/signature -run TestDocumented -update -->\n"
	tableEnd   = "<!-- end of the cases -->\n"
)

func TestDocumented(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + tableBegin + table() + tableEnd + after
	if *update {
		err = os.WriteFile(page, []byte(want), 0o644)
	} else if want != string(data) {
		t.Errorf("%s has another table than TestCases; -update rewrites it", page)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("\n| case | sx | gpg 2.2.40 | if they differ, why |\n| --- | --- | --- | --- |\n")
	for _, c := range cases {
		sx := "counts"
		if c.sx != sx {
			sx = "does not: " + c.sx
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.name, strings.ReplaceAll(sx, strings.Repeat("cd", 32), "cdcd…"), c.gpg, c.note)
	}
	return b.String() + "\n"
}
