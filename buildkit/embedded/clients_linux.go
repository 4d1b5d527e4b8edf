package embedded

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// clientsFile tells how many sx are connected. It is written in place, because the
// disk may be full just when somebody wants to know.
type clientsFile struct{ *os.File }

func clientsName(id string) string { return id + ".clients" }

func newClientsFile(dir, id string) (clientsFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, clientsName(id)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return clientsFile{}, err
	}
	c := clientsFile{f}
	c.write(0)
	return c, nil
}

func (c clientsFile) write(n int) {
	if _, err := c.WriteAt(fmt.Appendf(nil, "%8d\n", n), 0); err != nil {
		logrus.Warnf("noting the number of clients: %v", err)
		c.Truncate(0) // not known is better than wrong
	}
}

// readClients is 0 where it is not known.
func readClients(dir, id string) int {
	data, _ := os.ReadFile(filepath.Join(dir, clientsName(id)))
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// counted is a listener that ends the engine once no connection is left.
type counted struct {
	net.Listener
	stop func()
	// tell is called with every new number of clients, one call at a time.
	tell func(clients int)

	mu      sync.Mutex
	open    int
	clients int // connections on which something was said: a look is none
	done    bool
	timer   *time.Timer
}

func newCounted(l net.Listener, stop func(), tell func(int)) *counted {
	c := &counted{Listener: l, stop: stop, tell: tell}
	c.timer = time.AfterFunc(firstWait, c.expire)
	return c
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		conn.Close()
		return nil, net.ErrClosed
	}
	c.open++
	c.timer.Stop()
	return &countedConn{Conn: conn, c: c}, nil
}

// add counts n more clients.
func (c *counted) add(n int) {
	c.clients += n
	c.tell(c.clients)
}

func (c *counted) expire() {
	c.mu.Lock()
	idle := c.open == 0
	c.mu.Unlock()
	if idle {
		c.end()
	}
}

func (c *counted) end() {
	c.mu.Lock()
	c.done = true
	c.mu.Unlock()
	c.stop()
}

func (c *counted) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

type countedConn struct {
	net.Conn
	c      *counted
	talked bool // under c.mu
	closed bool // under c.mu
	first  sync.Once
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.first.Do(c.talks)
	}
	return n, err
}

func (c *countedConn) talks() {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if !c.closed {
		c.talked = true
		c.c.add(1)
	}
}

func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

func (c *countedConn) leave() {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if c.talked {
		c.c.add(-1)
	}
	if c.c.open--; c.c.open == 0 {
		c.c.timer.Reset(linger)
	}
}
