package transfer

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The time that our own disk takes is not the server's.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		limits := Limits{Stall: time.Second, MinRate: 1, Now: time.Now}
		b := &body{ReadCloser: io.NopCloser(strings.NewReader("abc")), ctx: ctx, cancel: cancel, pace: pace{limits: limits}}
		for range 3 {
			if _, err := b.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of synctest's clock
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}
