package memo

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
)

// TestTurn: as many turns as processors, and waiting for one ends with the context.
func TestTurn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	s := NewStats(filepath.Join(t.TempDir(), "stats"), disk.Key{}, time.Now, zap.NewNop())
	first, err1 := s.Turn(t.Context())
	_, err2 := s.Turn(t.Context())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	full := errors.New("stopped while waiting")
	cancel(full)
	if _, err := s.Turn(ctx); !errors.Is(err, full) {
		t.Errorf("a third turn with two processors: %v", err)
	}
	first()
	if _, err := s.Turn(t.Context()); err != nil {
		t.Error(err)
	}
}
