package enginetest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy forwards connections between sx and an engine at a TCP port, and can cut
// them.
type Proxy struct {
	Addr   string
	target string
	lis    net.Listener
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool // what is dialled is hung up on
}

// StartProxy forwards a port of loopback to target.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: lis.Addr().String(), target: target, lis: lis, conns: map[net.Conn]bool{}}
	go p.serve() // ended by the listener's end
	t.Cleanup(func() {
		lis.Close()
		p.Cut(false)
	})
	return p
}

func (p *Proxy) serve() {
	for {
		near, err := p.lis.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil || !p.keep(near, far) {
			near.Close()
			continue
		}
		pipe := func(to, from net.Conn) {
			io.Copy(to, from)
			to.Close()
			from.Close()
		}
		go pipe(near, far)
		go pipe(far, near)
	}
}

// keep records connections for Cut; it reports false if they were cut already.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.closed
}

// Cut ends every connection. For good, none is let through again.
func (p *Proxy) Cut(forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = forGood
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

// Mend accepts connections again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}
