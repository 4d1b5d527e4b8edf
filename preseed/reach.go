package preseed

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Reach asks the registry at host whether it answers, without credentials. It returns the
// registry's clock, zero if the answer has none.
func (c *Client) Reach(ctx context.Context, host string) (clock time.Time, err error) {
	reg, err := name.NewRegistry(host, name.StrictValidation)
	if err != nil {
		return clock, err
	}
	h := c.host(reg)
	if _, err := h.reach(ctx); err != nil {
		if ctx.Err() != nil {
			return clock, context.Cause(ctx)
		}
		return clock, fmt.Errorf("asking %s: %w", host, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock, nil
}

// Logins returns the Keychain of podman login and docker login that a Client uses if it is
// given none. It calls warn once for each file and each helper that is broken; a helper may
// take at most limit.
func Logins(getenv func(string) string, warn func(text string), limit time.Duration) Keychain {
	l := newLogins(getenv, warn)
	l.helperTime = limit
	return l
}
