package text_test

import (
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 999: "999B", 1536: "1.5KiB", 8 << 30: "8GiB", 1<<63 - 1: "8EiB",
	} {
		if got := text.Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                 "0s",
		-time.Second:                      "0s",
		40 * time.Millisecond:             "0s",
		400 * time.Millisecond:            "0.4s",
		time.Second:                       "1s",
		9940 * time.Millisecond:           "9.9s",
		9960 * time.Millisecond:           "10s",
		92*time.Second + time.Millisecond: "1m32s",
		2*time.Hour + 5*time.Second:       "2h0m5s",
	} {
		if got := text.Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}
