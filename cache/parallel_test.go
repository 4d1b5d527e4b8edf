package cache

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/memo/memotest"
	"codeberg.org/stagex/sx/cache/oci"
)

func newMeeting(t *testing.T) (*Store, *memotest.Meeting) {
	t.Helper()
	m := memotest.NewMeeting(t)
	tree := mkdir(t, t.TempDir(), "tree")
	return must(Open(tree, Options{KeyFile: tree + ".key", Now: m.Now}))(t), m
}

// TestBlobsAreHashedAtOnce: two blobs of one output are hashed by two goroutines.
func TestBlobsAreHashedAtOnce(t *testing.T) {
	s, m := newMeeting(t)
	buildImage("one", "two", "three").commit(t, s, "core-x")
	m.Want(t, func() {
		if _, err := s.Verify(t.Context(), "core-x"); err != nil {
			t.Error(err)
		}
	})
}

// TestFirstDamageIsNamed: of several damaged blobs the error names the first, whichever is
// found first; the context's end comes before both.
func TestFirstDamageIsNamed(t *testing.T) {
	s, _ := newMeeting(t)
	layers := []string{strings.Repeat("x", 4<<20), "two", "three", "four", "five"}
	buildImage(layers...).commit(t, s, "core-x")
	for _, l := range layers {
		path := s.Out("core-x/blobs/sha256/" + oci.DigestOf([]byte(l)).Hex())
		must(0, os.Chmod(path, 0o644))(t)
		write(t, path, []byte(strings.ToUpper(l)))
	}
	want := oci.DigestOf([]byte(layers[0]))
	for range 20 {
		_, err := s.Verify(t.Context(), "core-x")
		var wrong *oci.DigestMismatchError
		if !errors.As(err, &wrong) || wrong.Want != want {
			t.Fatalf("got %v, want that of %s", err, want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	cancel(stop)
	if _, err := s.Verify(ctx, "core-x"); !errors.Is(err, stop) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

// TestVerifyTakesLittleMemory: whatever the size of the blobs.
func TestVerifyTakesLittleMemory(t *testing.T) {
	s := newStore(t)
	buildImage(strings.Repeat("a", 24<<20), strings.Repeat("b", 24<<20)).commit(t, s, "core-x")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := s.Verify(t.Context(), "core-x"); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
		t.Errorf("verifying 48 MiB allocated %d bytes", took)
	}
}
