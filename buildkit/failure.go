package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
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
	// Line is the line of the Containerfile that failed, 0 if unknown; Step is its text.
	Line int
	Step string
	// ExitCode is that of the RUN that failed, 0 if no RUN failed.
	ExitCode int
	// Detail is runc's error message, if runc itself failed.
	Detail string
	// Hint is the likely cause on this engine, and the remedy.
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

// LostError means that the engine went away during a build, or that another client's end
// cancelled the build. It can be tried again.
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
		// This machine slept, or sx was stopped (Ctrl-Z): the engine has given up the
		// session, and cannot report it until sx closes it (moby: session/grpchijack).
		b.dropped.Store(true)
	}
	if transient(err) || b.Lost(ctx) {
		return &LostError{err}
	}
	if be := w.lintError(err); be != nil {
		return be
	}
	if job.HubTag != "" {
		if problem := hubProblem(RootMessage(err), b.hub); problem != "" {
			return &HubError{b.hub.Repository(), problem}
		}
	}
	be := &BuildError{Ref: job.Ref, File: job.Request.File}
	from := ""
	for _, s := range errdefs.Sources(err) {
		if len(s.Ranges) > 0 && s.Ranges[0].Start != nil {
			be.Line = int(s.Ranges[0].Start.Line)
			from = copiedFrom(s.Info.GetData(), be.Line)
		}
	}
	be.Err = errors.New(contextMessage(programMessage(RootMessage(err)), job, from))
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

// rlimitHint is the hint if runc cannot set a limit. The embedded engine checks that
// before it builds.
const rlimitHint = "the engine may not raise the limit of open files to that of StageX's builds: " +
	"start it with more (ulimit -Hn 16384; systemd: LimitNOFILE=1048576; docker, podman: --ulimit nofile=16384:16384)"

// usernsHint returns the hint for an error of the kernel that an engine which is root only
// in a user namespace gets; "" for other errors. If a RUN failed, its log has the reason.
func usernsHint(e *BuildError) string {
	if e.ExitCode != 0 {
		return ""
	}
	switch m := strings.ToLower(e.Err.Error()); {
	case strings.Contains(m, "lchown") && strings.Contains(m, "invalid argument"):
		return "without root only the ids of /etc/subuid and /etc/subgid can be used: add more there, or build this as root"
	case strings.HasSuffix(m, "operation not permitted"):
		return "without root no device node can be created: build this as root"
	}
	return ""
}

// Damaged reports whether err means that the engine read or sent a blob whose bytes do not
// match its digest (containerd: core/images, core/content; here: embedded/verified_linux.go).
func Damaged(err error) bool {
	if err == nil {
		return false
	}
	m := err.Error()
	return errors.As(err, new(*oci.DamagedError)) || strings.Contains(m, DamagedBlob) ||
		strings.Contains(m, "invalid desc sha256:") || strings.Contains(m, "unexpected commit digest") ||
		strings.Contains(m, "unexpected commit size") || strings.Contains(m, "failed size validation")
}

// DamagedBlob is the text of such an error of the embedded engine. Errors arrive as text.
const DamagedBlob = "in the engine's store is damaged"

// lostSnapshot matches the error for a snapshot that the engine has recorded and does not
// have, because the disk was full while it recorded it, say. Every build that needs the
// result fails until the engine forgets it (containerd: core/snapshots/storage,
// core/metadata).
var lostSnapshot = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`snapshot( \S+)? does not exist: not found$`) })

// cacheDamage returns what is wrong with the engine's cache, if a build failed for that reason
// and would fail each time with the same cache. Otherwise it returns "".
func cacheDamage(err error) string {
	switch {
	case errors.As(err, new(*HubError)):
		return ""
	case Damaged(err):
		return "a blob in its cache is damaged"
	case err != nil && lostSnapshot().MatchString(err.Error()):
		return "a snapshot in its cache is missing"
	}
	return ""
}

// leftOver matches the error for a new snapshot whose folder exists already: the engine was
// killed before it had recorded that folder. By failing it removes the folder, so that the
// next try succeeds (containerd: plugins/snapshots/overlay, createSnapshot).
var leftOver = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`failed to rename: rename \S+/snapshots/new-\d+ \S+/snapshots/\d+: file exists`)
})

// transient reports whether err is not a failed build but a failed connection, a step that
// lost another client's session, or a left-over of a killed engine.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
		return true
	}
	m := err.Error()
	return strings.Contains(m, "no active session") || strings.Contains(m, "context canceled") || leftOver().MatchString(m)
}

// RootMessage returns the message of err without the prefixes of BuildKit and gRPC.
func RootMessage(err error) string {
	m := err.Error()
	for _, prefix := range []string{"failed to solve: ", "rpc error: code = Unknown desc = ", "failed to solve: "} {
		m = strings.TrimPrefix(m, prefix)
	}
	return m
}

// programMessage explains the error of an engine elsewhere that has no xz, with which
// BuildKit unpacks archives.
func programMessage(m string) string {
	return strings.Replace(m, `exec: "xz": executable file not found in $PATH`,
		"the engine has no xz in its PATH, with which BuildKit unpacks .xz archives: install it there (Debian: apt-get install xz-utils)", 1)
}

// missingFile matches BuildKit's error for a COPY or ADD of a missing file.
var missingFile = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`failed to calculate checksum of ref \S+: ("[^"]*"): not found`)
})

// copiedFrom returns the stage or image that the instruction in a line of a Containerfile
// copies from, "" if that is the context.
func copiedFrom(containerfile []byte, line int) string {
	lines := strings.Split(string(containerfile), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	for _, word := range strings.Fields(lines[line-1]) {
		if from, ok := strings.CutPrefix(word, "--from="); ok {
			return from
		}
	}
	return ""
}

// contextMessage adds to the error of a missing file where it was searched for: in from, if
// that is not "", else in the context, with the sources that there are.
func contextMessage(m string, job Job, from string) string {
	if from != "" && from != "fetch" {
		return missingFile().ReplaceAllString(m, "$1 not found in the stage or image "+strings.ReplaceAll(from, "$", "$$"))
	}
	var names []string
	for _, s := range job.Sources {
		names = append(names, s.Name)
	}
	holds := "no source"
	if len(names) > 0 {
		holds = strings.Join(names, ", ")
	}
	return missingFile().ReplaceAllString(m, fmt.Sprintf("$1 not found in %s, nor as a source: fetch/ holds %s",
		strings.ReplaceAll(job.Request.Context, "$", "$$"), strings.ReplaceAll(holds, "$", "$$")))
}

// runcDetail returns the last error that runc logged since began. If runc itself fails,
// the build's error is only "exit code: 1". The log is shared by all containers, and its
// times are in seconds.
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

// maxDetail is how many bytes of runc's message an error contains.
const maxDetail = 500
