package transfer

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// maxBackoff is the longest wait of Exponential.
const maxBackoff = 30 * time.Second

// Exponential is how long to wait before try n+1, n from 0: 1, 2, 4 … 30 seconds,
// each shortened by up to a quarter so that many clients do not come back at once.
func Exponential(n int) time.Duration {
	wait := min(time.Second<<min(n, 10), maxBackoff)
	return wait - time.Duration(rand.Int64N(int64(wait/4)))
}

// Pause waits. If ctx ends first it returns the cause.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RetryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3), or,
// as Docker Hub sends it, seconds since 1970.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 40); err == nil {
		if seconds > 1e9 {
			return max(time.Unix(int64(seconds), 0).Sub(now), 0), true
		}
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0), true
	}
	return 0, false
}
