package gpg

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// home makes a GNUPGHOME with a secret key for each name, and ends its agent.
func home(t *testing.T, names ...string) {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("no gpg")
	}
	dir, err := os.MkdirTemp("", "gpg") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GNUPGHOME", dir)
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run()
		os.RemoveAll(dir)
	})
	for _, name := range names {
		cmd := exec.Command("gpg", "--batch", "--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestSign(t *testing.T) {
	home(t, "Ann <ann@example.org>", "Bob <bob@example.org>")
	p := NewPrograms(env(nil), io.Discard)
	fingerprint, public, err := p.Key(t.Context(), "ann@example.org")
	if err != nil || len(fingerprint) != 40 || len(public) == 0 {
		t.Fatal(fingerprint, len(public), err)
	}
	message, err := p.Sign(t.Context(), fingerprint, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "signature-1")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gpg", "--batch", "--status-fd", "1", "--decrypt", file).Output()
	if err != nil || !strings.Contains(string(out), "VALIDSIG "+fingerprint) || !strings.Contains(string(out), "text") {
		t.Errorf("%v: %s", err, out)
	}
	if _, _, err := p.Key(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "gpg has 2 such secret keys: say which with --key") {
		t.Error(err)
	}
	var none *NoKeyError
	if _, _, err := p.Key(t.Context(), "carol@example.org"); !errors.As(err, &none) {
		t.Error(err)
	}
}

func TestNoKey(t *testing.T) {
	home(t)
	var none *NoKeyError
	if _, _, err := NewPrograms(env(nil), io.Discard).Key(t.Context(), ""); !errors.As(err, &none) || none.Key != "" {
		t.Error(err)
	}
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ctx := t.Context()
	echo := NewPrograms(env(map[string]string{"STAGEX_GPG": "/nowhere/gpg", "STAGEX_GPG_SIGN": script("sign", `echo "$@"`) + " --card 2"}), io.Discard)
	if out, err := echo.Sign(ctx, "", nil); err != nil || string(out) != "--card 2 --sign --no-armor\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := echo.Sign(ctx, "ABCD", nil); err != nil || string(out) != "--card 2 --local-user ABCD --sign --no-armor\n" {
		t.Errorf("%q, %v", out, err)
	}
	var missing *MissingError
	if _, _, err := echo.Key(ctx, ""); !errors.As(err, &missing) {
		t.Error(err)
	}
	for name, text := range map[string]string{"fails": "exit 3", "silent": "exit 0", "endless": "cat /dev/zero"} {
		p := NewPrograms(env(map[string]string{"STAGEX_GPG": script(name, text)}), io.Discard)
		if out, err := p.Sign(ctx, "", nil); err == nil {
			t.Errorf("%s: %q", name, out)
		}
	}
	// Ctrl-C ends a program that waits for a touch.
	waiting := NewPrograms(env(map[string]string{"STAGEX_GPG": script("waits", "exec sleep 100")}), io.Discard)
	stopped := errors.New("stopped")
	ended, cancel := context.WithCancelCause(ctx)
	cancel(stopped)
	if _, err := waiting.Sign(ended, "", nil); !errors.Is(err, stopped) {
		t.Error(err)
	}
}
