package transfer

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for n, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		want *= time.Second
		if got := Exponential(n); got > want || got < want*3/4 {
			t.Errorf("wait %d is %v, want %v or up to a quarter less", n, got, want)
		}
	}
	if got := Exponential(1 << 40); got > maxBackoff || got < maxBackoff*3/4 {
		t.Errorf("the last wait is %v", got)
	}
}
