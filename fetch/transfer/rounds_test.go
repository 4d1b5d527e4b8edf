package transfer

import (
	"context"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A place that fails for the same cause in each round is news once.
func TestGivenUpAgain(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	overloaded := &StatusError{Code: 500}
	answers := []error{refused, refused, overloaded, refused}
	var news []error
	rounds := Rounds[string]{
		Retries: len(answers) - 1, Backoff: func(int) time.Duration { return 0 },
		Order: func() []string { return []string{"a"} },
		Ask: func(context.Context, string, int) error {
			err := answers[0]
			answers = answers[1:]
			return err
		},
		GaveUp: func(_ string, err error, again bool) {
			if !again {
				news = append(news, err)
			}
		},
		Size: func() int64 { return 0 },
		Rest: func() time.Duration { return 0 },
		Said: map[string]error{},
	}
	if _, found, err := rounds.Run(t.Context()); found || err != nil || len(answers) > 0 {
		t.Fatalf("found %v, %v, not asked %d times", found, err, len(answers))
	}
	if want := []error{refused, overloaded, refused}; !slices.EqualFunc(news, want, func(a, b error) bool { return a.Error() == b.Error() }) {
		t.Errorf("told of %v, want %v", news, want)
	}
}
