// Package gpg makes signatures with the user's gpg, so that smart cards, agents and touch work as the user set them up. It
// never sees a secret key.
//
// It refuses to judge anything: package signature does, also what gpg made.
package gpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Limits of what is asked of gpg. A signature waits for a person: a PIN, a touch.
const (
	askTime   = 30 * time.Second
	signTime  = 5 * time.Minute
	maxAnswer = 16 << 20
)

// Programs are the user's programs, as upstream's scripts take them from the environment, with arguments of their own.
type Programs struct {
	list, sign []string
	stderr     io.Writer // where they talk to the user
}

// NewPrograms reads STAGEX_GPG, which lists and exports keys (else "gpg"), and STAGEX_GPG_SIGN, which signs (else the
// same). Both are split at blanks, as upstream's shell does.
func NewPrograms(getenv func(string) string, stderr io.Writer) Programs {
	list := strings.Fields(getenv("STAGEX_GPG"))
	if len(list) == 0 {
		list = []string{"gpg"}
	}
	sign := strings.Fields(getenv("STAGEX_GPG_SIGN"))
	if len(sign) == 0 {
		sign = list
	}
	return Programs{list: list, sign: sign, stderr: stderr}
}

// MissingError says that a program could not be started.
type MissingError struct {
	Program string
	Err     error
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s cannot be run: %v; install gnupg, or name another program in STAGEX_GPG and STAGEX_GPG_SIGN", e.Program, e.Err)
}

// Unwrap returns the reason.
func (e *MissingError) Unwrap() error { return e.Err }

// NoKeyError says that gpg has no secret key that fits.
type NoKeyError struct{ Key string }

func (e *NoKeyError) Error() string {
	if e.Key == "" {
		return "gpg has no secret key to sign with (gpg --list-secret-keys)"
	}
	return fmt.Sprintf("gpg has no secret key %q to sign with (gpg --list-secret-keys)", e.Key)
}

// Key returns the public part of the secret key that gpg will sign with, as gpg exports it: that of name (a fingerprint, a
// user ID), or the only one.
func (p Programs) Key(ctx context.Context, name string) (fingerprint string, public []byte, err error) {
	args := []string{"--batch", "--with-colons", "--list-secret-keys"}
	if name != "" {
		args = append(args, "--", name)
	}
	out, err := p.ask(ctx, args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", nil, err
	}
	keys := secretKeys(string(out))
	switch {
	case err != nil || len(keys) == 0:
		return "", nil, &NoKeyError{name}
	case len(keys) > 1:
		return "", nil, fmt.Errorf("gpg has %d such secret keys: say which with --key FINGERPRINT (%s)", len(keys), strings.Join(keys, ", "))
	}
	public, err = p.ask(ctx, "--batch", "--export", "--", keys[0])
	return keys[0], public, err
}

// Version returns the first line that gpg prints of itself. The error is a *MissingError if
// it cannot be started.
func (p Programs) Version(ctx context.Context) (string, error) {
	out, err := p.ask(ctx, "--version")
	line, _, _ := strings.Cut(string(out), "\n")
	return line, err
}

// secretKeys are the primary fingerprints of a listing with colons.
func secretKeys(listing string) (out []string) {
	primary := false
	for line := range strings.Lines(listing) {
		f := strings.Split(strings.TrimSpace(line), ":")
		switch {
		case f[0] == "sec":
			primary = true
		case f[0] == "ssb":
			primary = false
		case f[0] == "fpr" && primary && len(f) >= 10:
			out = append(out, f[9])
			primary = false
		}
	}
	return out
}

// Sign returns the signed message of payload, made as upstream's sign.sh does; by the key with a fingerprint, or by
// gpg's default if that is "". PIN and touch go between the user and gpg.
func (p Programs) Sign(ctx context.Context, fingerprint string, payload []byte) ([]byte, error) {
	return p.signature(ctx, fingerprint, payload, "--sign")
}

// SignDetached returns a binary detached signature of payload, made as [Programs.Sign] makes a message.
func (p Programs) SignDetached(ctx context.Context, fingerprint string, payload []byte) ([]byte, error) {
	return p.signature(ctx, fingerprint, payload, "--detach-sign")
}

func (p Programs) signature(ctx context.Context, fingerprint string, payload []byte, command string) ([]byte, error) {
	args := []string{command, "--no-armor"}
	if fingerprint != "" {
		args = append([]string{"--local-user", fingerprint}, args...)
	}
	out, err := p.run(ctx, signTime, p.sign, payload, args...)
	if err == nil && len(out) == 0 {
		err = errors.New("it wrote nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", p.sign[0], err)
	}
	return out, nil
}

func (p Programs) ask(ctx context.Context, args ...string) ([]byte, error) {
	return p.run(ctx, askTime, p.list, nil, args...)
}

func (p Programs) run(ctx context.Context, limit time.Duration, program []string, stdin []byte, args ...string) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(bounded, program[0], append(program[1:len(program):len(program)], args...)...)
	out := &limited{left: maxAnswer}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), out, p.stderr
	cmd.WaitDelay = 5 * time.Second // for a grandchild that keeps the pipe
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case bounded.Err() != nil:
		return nil, fmt.Errorf("no answer within %s", limit)
	case err != nil && !errors.As(err, &exit):
		return nil, &MissingError{program[0], err}
	}
	return out.data.Bytes(), err
}

// limited takes so many bytes and no more.
type limited struct {
	data bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("its answer is too long")
	}
	return l.data.Write(p)
}
