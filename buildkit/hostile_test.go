package buildkit

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/session"
	sessioncontent "github.com/moby/buildkit/session/content"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/grpchijack"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// hostile is an engine elsewhere that does with the session what it likes.
type hostile struct {
	controlapi.UnimplementedControlServer
	sessions *session.Manager
	solve    func(ctx context.Context, sx session.Caller) (answer ocispecs.Descriptor, err error)
}

func (h *hostile) Info(context.Context, *controlapi.InfoRequest) (*controlapi.InfoResponse, error) {
	return &controlapi.InfoResponse{}, nil
}

func (h *hostile) Session(stream controlapi.Control_SessionServer) error {
	conn, closed, opts := grpchijack.Hijack(stream)
	defer conn.Close()
	ctx, cancel := context.WithCancel(stream.Context())
	go func() { // ended by the stream's end
		<-closed
		cancel()
	}()
	return h.sessions.HandleConn(ctx, conn, opts)
}

func (h *hostile) Status(*controlapi.StatusRequest, controlapi.Control_StatusServer) error {
	return nil
}

func (h *hostile) Solve(ctx context.Context, req *controlapi.SolveRequest) (*controlapi.SolveResponse, error) {
	sx, err := h.sessions.Get(ctx, req.Session, false)
	if err != nil {
		return nil, err
	}
	answer, err := h.solve(ctx, sx)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(answer)
	return &controlapi.SolveResponse{ExporterResponse: map[string]string{
		"containerimage.descriptor": base64.StdEncoding.EncodeToString(raw),
	}}, err
}

// open has h listen, and sx connect to it.
func (h *hostile) open(t *testing.T, store *cache.Store) *Builder {
	t.Helper()
	var err error
	h.sessions, err = session.NewManager()
	must(t, err)
	b, err := Open(t.Context(), serve(t, h), Options{Store: store})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// build asks for an output.
func (h *hostile) build(t *testing.T, b *Builder) error {
	t.Helper()
	into, err := b.store.Stage("core-x")
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	_, err = b.Build(t.Context(), Job{Ref: graph.Ref{Stage: "core", Name: "x"}, Into: into, Request: graph.Request{
		Context: "packages/core/x", File: "packages/core/x/Containerfile",
		Platforms: []string{"linux/amd64"}, Tags: []string{"stagex/core-x:1"},
	}})
	return err
}

func send(ctx context.Context, sx session.Caller, data string) (ocispecs.Descriptor, error) {
	d := ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageIndex, Digest: digest.FromString(data), Size: int64(len(data))}
	store := sessioncontent.NewCallerStore(sx, "export")
	return d, content.WriteBlob(ctx, store, "x", bytes.NewReader([]byte(data)), d)
}

// An engine reaches through the session what a build of it is made of, and nothing
// else of this machine.
func TestHostileSession(t *testing.T) {
	c := newCrafted(t)
	into, err := c.store.Stage("core-other")
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	if err := into.WriteBlob(oci.DigestOf([]byte("other")), 5, strings.NewReader("other")); err != nil {
		t.Fatal(err)
	}
	h := &hostile{}
	b := h.open(t, c.store)
	h.solve = func(ctx context.Context, sx session.Caller) (answer ocispecs.Descriptor, err error) {
		for _, name := range []string{"oci:" + storeID, "oci:other", "local:" + c.store.Dir(), "export", ""} {
			store := sessioncontent.NewCallerStore(sx, name)
			for _, d := range []digest.Digest{digest.FromString("other"), "sha256:../../../../etc/passwd"} {
				if _, err := store.ReaderAt(ctx, ocispecs.Descriptor{Digest: d, Size: 5}); err == nil {
					t.Errorf("the store %q gives %s", name, d)
				}
			}
			w, err := store.Writer(ctx, content.WithRef("x"))
			if err == nil {
				w.Close()
			}
			if (err == nil) != (name == "export") {
				t.Errorf("writing to the store %q: %v", name, err)
			}
		}
		for _, name := range []string{"context", "/", "..", "context-" + strings.Repeat("0", 24)} {
			dirCtx := metadata.AppendToOutgoingContext(ctx, "dir-name", name)
			stream, err := filesync.NewFileSyncClient(sx.Conn()).DiffCopy(dirCtx)
			if err == nil {
				_, err = stream.Recv()
			}
			if err == nil || !strings.Contains(err.Error(), "no access allowed to dir") {
				t.Errorf("the folder %q: %v", name, err)
			}
		}
		return answer, errors.New("done")
	}
	if err := h.build(t, b); err == nil || !strings.Contains(err.Error(), "done") {
		t.Errorf("got %v", err)
	}
}

// An sx that starts while another builds takes nothing from it: what it removes is
// of those that are gone.
func TestAnotherStarts(t *testing.T) {
	tree, opts := t.TempDir(), cache.Options{KeyFile: filepath.Join(t.TempDir(), "key")}
	store, err := cache.Open(tree, opts)
	must(t, err)
	h := &hostile{solve: func(ctx context.Context, sx session.Caller) (ocispecs.Descriptor, error) {
		return send(ctx, sx, "not JSON")
	}}
	b := h.open(t, store)
	_, err = cache.Open(tree, opts)
	must(t, err)
	if err := h.build(t, b); err == nil || !strings.Contains(err.Error(), "invalid character") {
		t.Errorf("the result did not come: %v", err)
	}
	must(t, b.Close())
	if left, err := os.ReadDir(store.Dir("tmp")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What an engine names and does not send is missed.
func TestHostileUnsent(t *testing.T) {
	h := &hostile{solve: func(ctx context.Context, sx session.Caller) (ocispecs.Descriptor, error) {
		d, err := send(ctx, sx, "{}")
		return d, errors.Join(err, sessioncontent.NewCallerStore(sx, "export").Delete(ctx, d.Digest))
	}}
	err := h.build(t, h.open(t, newCrafted(t).store))
	if err == nil || !strings.Contains(err.Error(), "did not send the blob "+digest.FromString("{}").String()) {
		t.Errorf("got %v", err)
	}
}

// A result that has come is not lost with the engine: what lies in the sink stays
// until the build that asked for it is done with it.
func TestCloseWaits(t *testing.T) {
	b := (&hostile{}).open(t, newCrafted(t).store)
	b.builds.RLock() // as a build does
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }() // ended below
	select {
	case <-closed:
		t.Error("the results are gone before they were taken")
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := os.Stat(b.sink.root); err != nil {
		t.Error(err)
	}
	b.builds.RUnlock()
	must(t, <-closed)
}

// An engine that gave up the session of an sx that was stopped for a while answers,
// and is lost to it all the same.
func TestSessionDropped(t *testing.T) {
	h := &hostile{}
	b := h.open(t, newCrafted(t).store)
	for _, c := range []struct {
		id   string
		lost bool
	}{{"another", false}, {b.session.ID(), true}} {
		h.solve = func(context.Context, session.Caller) (answer ocispecs.Descriptor, err error) {
			return answer, status.Errorf(codes.DeadlineExceeded, "no active session for %s: context deadline exceeded", c.id)
		}
		var lost *LostError
		if err := h.build(t, b); !errors.As(err, &lost) || b.Lost(t.Context()) != c.lost {
			t.Errorf("of session %s: %v, lost is %t", c.id, err, !c.lost)
		}
	}
}

// What an engine that is lost leaves of its first build is an engine to wait for.
func TestAway(t *testing.T) {
	h := &hostile{solve: func(context.Context, session.Caller) (answer ocispecs.Descriptor, err error) {
		return answer, status.Error(codes.Unavailable, "cut")
	}}
	b := h.open(t, newCrafted(t).store)
	var away *EngineError
	if err := b.Away(h.build(t, b)); !errors.As(err, &away) || !strings.Contains(err.Error(), "went away as soon as it was reached (Unavailable: cut)") {
		t.Errorf("got %v", err)
	}
	failed := errors.New("exit code: 1")
	if err := b.Away(failed); err != failed {
		t.Errorf("a failed build is %v", err)
	}
}

// fullStore is on a full disk.
type fullStore struct{ content.Store }

func (fullStore) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return fullWriter{}, nil
}

type fullWriter struct{ content.Writer }

func (fullWriter) Digest() digest.Digest           { return "" }
func (fullWriter) Status() (content.Status, error) { return content.Status{}, nil }
func (fullWriter) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Err: syscall.ENOSPC}
}
func (fullWriter) Close() error { return nil }

// Whose disk is full, the engine's or this machine's, is told apart although both
// come as the engine's words.
func TestWhoseDiskIsFull(t *testing.T) {
	h := &hostile{}
	b := h.open(t, newCrafted(t).store)
	h.solve = func(context.Context, session.Caller) (ocispecs.Descriptor, error) {
		return ocispecs.Descriptor{}, fmt.Errorf("write /var/lib/buildkit/x: %w", syscall.ENOSPC)
	}
	if err := h.build(t, b); err == nil || errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/var/lib/buildkit") {
		t.Errorf("the engine's disk: %v", err)
	}
	b.sink.Store = fullStore{b.sink.Store}
	h.solve = func(ctx context.Context, sx session.Caller) (ocispecs.Descriptor, error) {
		return send(ctx, sx, "{}")
	}
	if err := h.build(t, b); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("this machine's disk: %v", err)
	}
}
