package buildkit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/graph"
)

// whole is a source that takes several packets to send.
var whole = strings.Repeat("whole ", 50_000)

// troubles are what happens to a source after the build has looked at it, by name.
var troubles = map[string]func(path string) error{
	"removed":   os.Remove,
	"truncated": func(path string) error { return os.Truncate(path, 1000) },
	"emptied":   func(path string) error { return os.Truncate(path, 0) },
	"grown":     func(path string) error { return appendTo(path, "more") },
	"edited":    func(path string) error { return os.WriteFile(path, []byte(strings.ToUpper(whole)), 0o600) },
	"a folder":  func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	"a pipe":    func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	"a loop":    func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) },
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// A source that cannot be read as it was verified ends the transfer at the engine's
// end too, in a moment, and fails the build whatever the engine makes of that.
func TestSourceTroubles(t *testing.T) {
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			src := source(t, "s", whole)
			h := &hostile{}
			b := h.open(t, newCrafted(t).store)
			h.solve = func(ctx context.Context, sx session.Caller) (ocispecs.Descriptor, error) {
				must(t, trouble(src.Path))
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				defer cancel()
				err := filesync.FSSync(ctx, sx, filesync.FSSendRequestOpt{
					Name: "fetch-" + mustID(t, src), DestDir: t.TempDir(),
				})
				if err == nil || ctx.Err() != nil && context.Cause(ctx) != context.Canceled {
					t.Errorf("the transfer ended with %v", err)
				}
				return send(context.WithoutCancel(ctx), sx, "{}") // as if nothing had been
			}
			var unread *ReadError
			if err := buildSource(t, b, src); !errors.As(err, &unread) || unread.Path != "s" {
				t.Errorf("got %v, want a *ReadError of s", err)
			}
		})
	}
}

// mustID is the name of a context of one source that is still as it was.
func mustID(t *testing.T, src SourceFile) string {
	t.Helper()
	return mustContext(t, nil, []SourceFile{source(t, src.Name, whole)}, "").id
}

func buildSource(t *testing.T, b *Builder, src SourceFile) error {
	t.Helper()
	into, err := b.store.Stage("core-x")
	must(t, err)
	defer into.Close()
	_, err = b.Build(t.Context(), Job{
		Ref: graph.Ref{Stage: "core", Name: "x"}, Into: into, Sources: []SourceFile{src},
		Request: graph.Request{Platforms: []string{"linux/amd64"}, Tags: []string{"stagex/core-x:1"}},
	})
	return err
}

// A transfer that goes well, and one that the engine gives up, are no trouble.
func TestSourceWhole(t *testing.T) {
	src := source(t, "s", whole)
	h := &hostile{}
	b := h.open(t, newCrafted(t).store)
	h.solve = func(ctx context.Context, sx session.Caller) (ocispecs.Descriptor, error) {
		opt := filesync.FSSendRequestOpt{Name: "fetch-" + mustID(t, src), DestDir: t.TempDir()}
		given, giveUp := context.WithCancel(ctx)
		giveUp()
		filesync.FSSync(given, sx, opt)
		must(t, filesync.FSSync(ctx, sx, opt))
		data, err := os.ReadFile(opt.DestDir + "/s")
		if must(t, err); !bytes.Equal(data, []byte(whole)) {
			t.Errorf("%d bytes came", len(data))
		}
		return ocispecs.Descriptor{}, errors.New("done")
	}
	if err := buildSource(t, b, src); err == nil || !strings.Contains(err.Error(), "done") {
		t.Errorf("got %v", err)
	}
}
