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
	helperTime   = time.Minute     // it may ask the user something, somewhere
	helperSilent = 3 * time.Second // after that it is told what is waited for
	helperEnd    = time.Second     // from SIGKILL until what it has started is left alone
	maxHelper    = 64 << 10        // bytes of an answer
)

// tokenUser is the user name with which a helper marks an identity token.
const tokenUser = "<token>"

// ask runs the credential helper docker-credential-<name> for the first of the servers
// that it knows. Each question is asked once, whatever number of repositories have it.
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
	l.had[key] = c // a broken helper is not asked again either
	return c, err
}

// run asks by the protocol of docker-credential-helpers: the server on stdin, JSON on
// stdout; an error is a message on stdout and an exit code.
func (l *logins) run(ctx context.Context, program, server string) (c Credentials, err error) {
	if strings.ContainsAny(program, "/\\") {
		return c, fmt.Errorf("the credential helper %.80q is not a plain name", program)
	}
	limit := l.helperTime
	if limit == 0 {
		limit = helperTime
	}
	late := fmt.Errorf("the credential helper %s gave no answer in %s", program, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	waiting := time.AfterFunc(helperSilent, func() {
		l.tell(program, "waiting for the credential helper %s; it may ask for a password somewhere, and is given up after %s", program, limit)
	})
	defer waiting.Stop()
	cmd := exec.CommandContext(ctx, program, "get")
	var out bounded
	messages := bounded{drop: true}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = "/", strings.NewReader(server), &out, &messages, helperEnd
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has exited well; an agent that it started holds its output open
	}
	switch {
	case ctx.Err() != nil:
		return c, context.Cause(ctx)
	case out.over:
		return c, fmt.Errorf("the credential helper %s answers with more than %d bytes", program, maxHelper)
	case err != nil && isNotFound(out.buf.String()):
		return c, nil
	case err != nil:
		return c, helperFailed(program, err, out.buf.String(), messages.buf.String())
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out.buf.Bytes(), &answer) != nil {
		return c, fmt.Errorf("the credential helper %s answers with something else than JSON", program)
	}
	if answer.Username == tokenUser {
		return Credentials{IdentityToken: answer.Secret}, nil
	}
	return Credentials{Username: answer.Username, Password: answer.Secret}, nil
}

// isNotFound knows the messages of a helper that works and has nothing for a server.
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
	return fmt.Errorf("the credential helper %s fails (%w): %s", program, err, shorten(strings.Join(strings.Fields(said), " ")))
}

// bounded keeps the first maxHelper bytes, and takes no more.
type bounded struct {
	buf  bytes.Buffer // not embedded: its ReadFrom has no bound
	over bool
	drop bool // what is too much is no failure
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
