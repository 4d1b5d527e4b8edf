package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"codeberg.org/stagex/sx/cache"
)

func init() {
	commands["signers"], commands["signature"], commands["https"], commands["digest"] = gpgSigners, makeSignature, serveTLS, digestOf
}

// gpgSigners handles signers NAME... gives the script a gpg with a secret key for each name: $GNUPGHOME, the fingerprint in $NAME in capitals,
// and the public key in name.asc in small letters.
func gpgSigners(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "signers NAME...")
	dir, err := os.MkdirTemp("", "gpg") // a socket's path must be short
	ts.Check(err)
	ts.Setenv("GNUPGHOME", dir)
	ts.Defer(func() {
		exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run()
		os.RemoveAll(dir)
	})
	for _, name := range args {
		id := name + " <" + strings.ToLower(name) + "@example.org>"
		ts.Check(ts.Exec("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", id, "ed25519", "sign", "never"))
		ts.Check(ts.Exec("gpg", "--batch", "--with-colons", "--list-keys", id))
		for line := range strings.Lines(ts.ReadFile("stdout")) {
			if f := strings.Split(line, ":"); f[0] == "fpr" {
				ts.Setenv(strings.ToUpper(name), f[9])
				break
			}
		}
		ts.Check(ts.Exec("gpg", "--batch", "--armor", "--output", ts.MkAbs(strings.ToLower(name)+".asc"), "--export", id))
	}
}

// signature NAME FILE TEXT writes a message of TEXT that NAME signed with gpg, as upstream's sign.sh does.
func makeSignature(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "signature NAME FILE TEXT")
	file := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	cmd := exec.Command("gpg", "--batch", "--local-user", strings.ToLower(args[0])+"@example.org", "--sign", "--no-armor")
	cmd.Env = append(os.Environ(), "GNUPGHOME="+ts.Getenv("GNUPGHOME"))
	cmd.Stdin = strings.NewReader(args[2])
	data, err := cmd.Output()
	ts.Check(err)
	ts.Check(os.WriteFile(file, data, 0o644))
}

// https DIR serves a folder at $HTTPS over TLS that programs trust, until the script ends.
func serveTLS(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "https DIR")
	s := httptest.NewTLSServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(s.Close)
	file := ts.MkAbs(".https.pem")
	ts.Check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644))
	ts.Setenv("SSL_CERT_FILE", file)
	ts.Setenv("HTTPS", s.URL)
}

// digest DIR OUTPUT puts what DIR/digests lists for the output into $DIGEST.
func digestOf(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "digest DIR OUTPUT")
	all, wrong := cache.LoadDigests(os.DirFS(ts.MkAbs(args[0])))
	if len(wrong) > 0 {
		ts.Fatalf("%v", wrong)
	}
	d, ok := all[args[1]]
	if !ok {
		ts.Fatalf("%s/digests has no %s", args[0], args[1])
	}
	ts.Setenv("DIGEST", d.Hex())
}

func TestMaintainers(t *testing.T) {
	m := parseMaintainers(`[people]
[people.a]
name = "Ann"
keyoxide = "https://keyoxide.org/0123456789ABCDEF"
[people.b]
name = "Bob"
keyoxide = "https://keyoxide.org/c92fe5a3fbd58dd3ec5aa26bb10116b8193f2dbd"
matrix = ["@bob:example.org"]
[people.c]
name = "Carol"
keyoxide = "https://keyoxide.org/aspe:keyoxide.org:ABC"
[people.d]
name = "Dan"
`)
	for fingerprint, want := range map[string]string{
		strings.Repeat("A", 24) + "0123456789ABCDEF": "Ann", "C92FE5A3FBD58DD3EC5AA26BB10116B8193F2DBD": "Bob",
		strings.Repeat("A", 40): "", strings.Repeat("A", 48) + "0123456789ABCDEF": "",
	} {
		if got := m.of(fingerprint); got != want {
			t.Errorf("%s is %q, want %q", fingerprint, got, want)
		}
	}
	if m := parseMaintainers("[people"); m.of("X") != "" {
		t.Error("a broken file names somebody")
	}
}

func TestParseImageRef(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		"docker.io/stagex/pallet-rust": "docker.io/stagex/pallet-rust", "stagex/pallet-rust:1.2": "docker.io/stagex/pallet-rust",
		"quay.io/stagex/core-musl": "quay.io/stagex/core-musl", "localhost:5000/mirror/stagex/core-musl": "localhost:5000/mirror/stagex/core-musl",
	} {
		got, err := parseImageRef(text + "@sha256:" + digest)
		if err != nil || got.repository != want || got.digest.Hex() != digest || want[strings.LastIndexByte(want, '/')+1:] != got.output {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"pallet-rust@sha256:" + digest, "docker.io/evil/pallet-rust@sha256:" + digest, "docker.io/stagex/a@sha256:12",
		"docker.io/notstagex/a@sha256:" + digest, "docker.io/stagex/a@sha512:" + digest + digest, "@sha256:" + digest, "stagex/a@sha256:" + strings.ToUpper(digest),
	} {
		if got, err := parseImageRef(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
