package preseed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Limits of a credential helper.
const (
	helperTime   = time.Minute     // how long one may run; it may ask the user something
	helperSilent = 3 * time.Second // until the user is told that sx waits for it
	helperEnd    = time.Second     // from its end until sx no longer waits for its children
	maxHelper    = 64 << 10        // maximum size of an answer, in bytes
)

// tokenUser is the user name with which a helper marks an identity token.
const tokenUser = "<token>"

// ask asks the credential helper docker-credential-<helper> for the servers in turn,
// until it knows one. It asks each question only once and remembers the answer.
func (l *logins) ask(ctx context.Context, helper string, servers []string) (Credentials, error) {
	for _, server := range servers {
		c, err := l.askOnce(ctx, helper, server)
		if err != nil || c != (Credentials{}) {
			return c, err
		}
	}
	return Credentials{}, nil
}

func (l *logins) askOnce(ctx context.Context, helper, server string) (Credentials, error) {
	key := helper + " " + server
	unlock, err := l.asking.Lock(ctx, key)
	if err != nil {
		return Credentials{}, err
	}
	defer unlock()
	l.mu.Lock()
	c, ok := l.had[key]
	l.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err = l.run(ctx, "docker-credential-"+helper, server)
	if ctx.Err() != nil {
		return Credentials{}, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.had[key] = c // also for a broken helper: it is not asked again
	return c, err
}

// run runs a helper by the protocol of docker-credential-helpers: the server on stdin,
// JSON on stdout; an error is a message on stdout and an exit code other than 0.
func (l *logins) run(ctx context.Context, program, server string) (c Credentials, err error) {
	if strings.ContainsAny(program, "/\\") {
		return c, fmt.Errorf("the credential helper %.80q is not a plain name", program)
	}
	limit := l.helperTime
	if limit == 0 {
		limit = helperTime
	}
	late := fmt.Errorf("the credential helper %s did not answer within %s", program, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	waiting := time.AfterFunc(helperSilent, func() {
		l.tell(program, "waiting up to %[2]s for the credential helper %[1]s, which may be asking for a password", program, limit)
	})
	defer waiting.Stop()
	cmd := exec.CommandContext(ctx, program, "get")
	var out bounded
	messages := bounded{drop: true}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = "/", strings.NewReader(server), &out, &messages, helperEnd
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it succeeded; an agent that it started keeps its output open
	}
	switch {
	case ctx.Err() != nil:
		return c, context.Cause(ctx)
	case out.over:
		return c, fmt.Errorf("the credential helper %s answered with more than %d bytes", program, maxHelper)
	case err != nil && isNotFound(out.buf.String()):
		return c, nil
	case err != nil:
		return c, helperFailed(program, err, out.buf.String(), messages.buf.String())
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out.buf.Bytes(), &answer) != nil {
		return c, fmt.Errorf("the credential helper %s did not answer with JSON", program)
	}
	if answer.Username == tokenUser {
		return Credentials{IdentityToken: answer.Secret}, nil
	}
	return Credentials{Username: answer.Username, Password: answer.Secret}, nil
}

// isNotFound reports whether a helper's message means that it has no credentials for a
// server.
func isNotFound(said string) bool {
	said = strings.TrimSpace(said)
	return strings.Contains(said, "credentials not found") || said == "no credentials server URL" || said == "no credentials username"
}

func helperFailed(program string, err error, out, messages string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("the credential helper %s is not installed", program)
	}
	said := strings.TrimSpace(out)
	if said == "" {
		said = strings.TrimSpace(messages)
	}
	return fmt.Errorf("the credential helper %s failed (%w): %s", program, err, shorten(strings.Join(strings.Fields(said), " ")))
}

// bounded is a writer that keeps at most maxHelper bytes.
type bounded struct {
	buf  bytes.Buffer // not embedded: its ReadFrom has no bound
	over bool
	drop bool // discard further bytes instead of failing
}

var errTooMuch = errors.New("too much output")

func (b *bounded) Write(p []byte) (int, error) {
	if b.over || b.buf.Len()+len(p) > maxHelper {
		b.over = true
		if b.drop {
			return len(p), nil
		}
		return 0, errTooMuch
	}
	return b.buf.Write(p)
}
