package remote

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"
)

// clientConn is a connection through a client program. Close first closes the program's
// input, so that both ends exit: a killed podman would leave buildctl running in the
// container, and with it a connection that looks alive.
type clientConn struct{ net.Conn }

// clientEnd is how long a client program may take to end by itself.
const clientEnd = 3 * time.Second

func (c *clientConn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		ended := make(chan struct{})
		go func() { // ended by the program's end
			defer close(ended)
			io.Copy(io.Discard, c.Conn)
		}()
		select {
		case <-ended:
		case <-time.After(clientEnd):
		}
	}
	return c.Conn.Close()
}

func findClient(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("there is no %s in PATH, which is needed to reach it", program)
	}
	return nil
}

func clientRemedy(program string) string {
	switch program {
	case "ssh":
		return "install it (Debian: apt-get install openssh-client)"
	case "podman":
		return "install it (Debian: apt-get install podman)"
	case "docker":
		return "install it (Debian: apt-get install docker-cli, or docker.io)"
	}
	return "install " + program
}
