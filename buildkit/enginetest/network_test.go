package enginetest

import (
	"net"
	"strings"
	"testing"
)

const dialler = `
-- packages/core/online/package.toml --
[package]
name = "online"
version = "1"
-- packages/core/online/Containerfile --
FROM scratch
COPY tool /
RUN ["/tool", "dial", "ADDR"]
-- packages/core/cutoff/package.toml --
[package]
name = "cutoff"
version = "1"
-- packages/core/cutoff/Containerfile --
FROM scratch
COPY tool /
RUN --network=none ["/tool", "dial", "ADDR"]
`

// A RUN has the host's network, unless it or --offline forbids that.
func TestNetwork(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with l
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	tree := NewTree(t, programs, "", strings.ReplaceAll(dialler, "ADDR", l.Addr().String()))
	for _, c := range []struct {
		output, flag string
		code         int
	}{
		{"core-cutoff", "--no-cache", 1},
		{"core-online", "--offline", 1},
		{"core-online", "--no-cache", 0},
	} {
		r := tree.Start("build", c.output, c.flag).Want(c.code)
		if c.code == 0 {
			continue
		}
		if log := r.Stderr.String(); !strings.Contains(log, "packages/core/") || !strings.Contains(log, "Containerfile:3: ") {
			t.Errorf("%s %s: the error does not name the line:\n%s", c.output, c.flag, log)
		}
	}
}
