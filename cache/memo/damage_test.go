package memo

import (
	"context"
	"os"
	"testing"
)

// TestUnreadableIsDamage: a disk may refuse to read what it had.
func TestUnreadableIsDamage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for err, want := range map[error]bool{
		os.ErrDeadlineExceeded: true, &ChangedError{Path: "x"}: false, nil: false,
	} {
		if Unreadable(ctx, err) != want {
			t.Errorf("%v: got %v", err, !want)
		}
	}
	cancel()
	if Unreadable(ctx, os.ErrDeadlineExceeded) {
		t.Error("an interrupt is not damage")
	}
}
