package remote

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"
)

// clientConn is a connection through a client program. Its end is told to the far
// side before the program is ended: podman, killed, leaves buildctl behind in the
// container, and with it a connection that looks alive.
type clientConn struct{ net.Conn }

// clientEnd bounds how long a client program may take to end by itself.
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
		return fmt.Errorf("there is no %s in PATH, by which it is reached", program)
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
