package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// BuildError is a failed build.
type BuildError struct {
	Ref graph.Ref
	// Line of the Containerfile that failed, 0 when not known; Step is its text.
	Line int
	Step string
	// ExitCode of the RUN that failed, 0 when it was something else.
	ExitCode int
	// Detail is what runc wrote about it, when that is all there is.
	Detail string
	// Hint is what lies behind it on this engine, and the way out.
	Hint string
	File string
	Err  error
}

func (e *BuildError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	}
	b.WriteString(e.Err.Error())
	if e.Detail != "" {
		fmt.Fprintf(&b, " (runc: %s)", e.Detail)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

func (e *BuildError) Unwrap() error { return e.Err }

// LostError says that the engine went away during a build, or cancelled it on
// behalf of someone else: trying again is sound.
type LostError struct{ Err error }

func (e *LostError) Error() string { return fmt.Sprintf("the engine was lost: %v", e.Err) }

func (e *LostError) Unwrap() error { return e.Err }

// explain turns what Solve returned into an error of this package.
func (b *Builder) explain(ctx context.Context, w *watch, began time.Time, err error) error {
	job := w.job
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if strings.Contains(err.Error(), "no active session for "+b.session.ID()) {
		// This machine slept, or sx was stopped (Ctrl-Z): the engine gave the session
		// up, and cannot say so before this end closes it (moby: session/grpchijack).
		b.dropped.Store(true)
	}
	if transient(err) || b.Lost(ctx) {
		return &LostError{err}
	}
	if be := w.lintError(err); be != nil {
		return be
	}
	be := &BuildError{Ref: job.Ref, File: job.Request.File, Err: errors.New(contextMessage(programMessage(RootMessage(err)), job))}
	for _, s := range errdefs.Sources(err) {
		if len(s.Ranges) > 0 && s.Ranges[0].Start != nil {
			be.Line = int(s.Ranges[0].Start.Line)
		}
	}
	var exit *gateway.ExitError
	if errors.As(err, &exit) {
		be.ExitCode = int(exit.ExitCode)
		be.Detail = runcDetail(b.conn.RuncLog, began)
	}
	switch {
	case w.full:
		be.Err = fmt.Errorf("%w: %w", be.Err, unix.ENOSPC)
	case b.conn.UserNS:
		be.Hint = usernsHint(be)
	case b.conn.Elsewhere && w.rlimit:
		be.Hint = rlimitHint
	}
	return be
}

// rlimitHint is the way out where runc says that it cannot set a limit. The embedded
// engine is checked before anything is built.
const rlimitHint = "the engine may not raise the limit of open files to that of StageX's builds: " +
	"start it with more (ulimit -Hn 16384; systemd: LimitNOFILE=1048576; docker, podman: --ulimit nofile=16384:16384)"

// usernsHint says what lies behind an error of the kernel where the engine is root
// of a user namespace only; "" where nothing does. A RUN that fails says itself what
// it wanted, in its log.
func usernsHint(e *BuildError) string {
	if e.ExitCode != 0 {
		return ""
	}
	switch m := strings.ToLower(e.Err.Error()); {
	case strings.Contains(m, "lchown") && strings.Contains(m, "invalid argument"):
		return "without root there are only the ids that /etc/subuid and /etc/subgid give: give more there, or build this as root"
	case strings.HasSuffix(m, "operation not permitted"):
		return "without root no device node can be made: build this as root"
	}
	return ""
}

// Damaged tells that the engine read, or answered with, a blob that is not what its
// name says (containerd: core/images, core/content; here: [verified]).
func Damaged(err error) bool {
	if err == nil {
		return false
	}
	m := err.Error()
	return errors.As(err, new(*oci.DamagedError)) || strings.Contains(m, DamagedBlob) ||
		strings.Contains(m, "invalid desc sha256:") || strings.Contains(m, "unexpected commit digest") ||
		strings.Contains(m, "unexpected commit size") || strings.Contains(m, "failed size validation")
}

// DamagedBlob is how the embedded engine says so. Its errors arrive as text.
const DamagedBlob = "in the engine's store is damaged"

// leftOver tells that there was a snapshot already where the engine put a new one: it
// was killed before it had noted that one. By having failed it has removed it
// (containerd: plugins/snapshots/overlay, createSnapshot).
var leftOver = regexp.MustCompile(`failed to rename: rename \S+/snapshots/new-\d+ \S+/snapshots/\d+: file exists`)

// transient tells a failure of the connection, a step that failed because another
// client's session went away, and what a kill of the engine left, from a failed build.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
		return true
	}
	m := err.Error()
	return strings.Contains(m, "no active session") || strings.Contains(m, "context canceled") || leftOver.MatchString(m)
}

// RootMessage drops the frames that BuildKit and gRPC put before the reason.
func RootMessage(err error) string {
	m := err.Error()
	for _, prefix := range []string{"failed to solve: ", "rpc error: code = Unknown desc = ", "failed to solve: "} {
		m = strings.TrimPrefix(m, prefix)
	}
	return m
}

// programMessage says of a program that BuildKit unpacks archives with, and an
// engine elsewhere does not have, where it is missing.
func programMessage(m string) string {
	return strings.Replace(m, `exec: "xz": executable file not found in $PATH`,
		"the engine has no xz in its PATH, with which BuildKit unpacks .xz archives: install it there (Debian: apt-get install xz-utils)", 1)
}

// missingFile is how BuildKit says that a COPY or ADD names nothing.
var missingFile = regexp.MustCompile(`failed to calculate checksum of ref \S+: ("[^"]*"): not found`)

// contextMessage names what was missing from the context, and what it holds.
func contextMessage(m string, job Job) string {
	var names []string
	for _, s := range job.Sources {
		names = append(names, s.Name)
	}
	holds := "no source"
	if len(names) > 0 {
		holds = strings.Join(names, ", ")
	}
	return missingFile.ReplaceAllString(m, fmt.Sprintf("$1 not found in %s, nor as a source: fetch/ holds %s",
		strings.ReplaceAll(job.Request.Context, "$", "$$"), strings.ReplaceAll(holds, "$", "$$")))
}

// runcDetail is the last error that runc logged since began: when runc itself
// fails, the build only says "exit code: 1". Its log is of all containers and
// tells times to the second.
func runcDetail(path string, began time.Time) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	var last struct {
		Level, Msg string
		Time       time.Time
	}
	err = json.Unmarshal([]byte(lines[len(lines)-1]), &last)
	if err != nil || last.Level != "error" || last.Time.Before(began.Truncate(time.Second)) {
		return ""
	}
	if len(last.Msg) > maxDetail {
		last.Msg = last.Msg[:maxDetail] + "…"
	}
	return last.Msg
}

// maxDetail bounds what of runc's words stands in an error, in bytes.
const maxDetail = 500
