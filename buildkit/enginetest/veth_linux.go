package enginetest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network is a network namespace, in which sx runs, with others joined to it by veth. It
// changes nothing of the machine's own network.
type Network struct {
	t    testing.TB
	pid  int
	ends int
}

// NewNetwork makes a namespace that has loopback only. It ends with the test.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t, pid: namespace(t)}
	n.ip(n.pid, "link", "set", "lo", "up")
	return n
}

// namespace starts a program in a network namespace of its own, which keeps it there, and
// returns the id of its process. The program ends with the test, also if that is killed.
func namespace(t testing.TB) (pid int) {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

func (n *Network) ip(pid int, args ...string) { n.run(pid, append([]string{"ip"}, args...)...) }

func (n *Network) run(pid int, args ...string) {
	n.t.Helper()
	line := inside(pid, args...)
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%q: %v: %s", args, err, out)
	}
}

// Host is a namespace that is joined to a [Network] by a link of its own.
type Host struct {
	Addr string // its IP address
	n    *Network
	pid  int
	near string // the end of the link in the network's namespace
}

// Join makes a host. Its link carries so many bits a second each way, as tc writes it, such
// as "100mbit".
func (n *Network) Join(rate string) *Host {
	n.t.Helper()
	n.ends++
	h := &Host{Addr: fmt.Sprintf("10.77.%d.2", n.ends), n: n, pid: namespace(n.t), near: fmt.Sprint("near", n.ends)}
	n.ip(n.pid, "link", "add", "name", h.near, "type", "veth", "peer", "name", "far", "netns", strconv.Itoa(h.pid))
	for _, end := range []struct {
		pid        int
		name, addr string
	}{{n.pid, h.near, fmt.Sprintf("10.77.%d.1/24", n.ends)}, {h.pid, "far", h.Addr + "/24"}} {
		n.ip(end.pid, "address", "add", end.addr, "dev", end.name)
		n.ip(end.pid, "link", "set", end.name, "up")
		n.run(end.pid, "tc", "qdisc", "add", "dev", end.name, "root", "tbf", "rate", rate, "burst", "256kb", "latency", "100ms")
	}
	n.ip(h.pid, "link", "set", "lo", "up")
	return h
}

// Forward lets hosts reach each other through the network.
func (n *Network) Forward(hosts ...*Host) {
	n.t.Helper()
	n.run(n.pid, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	for _, h := range hosts {
		n.ip(h.pid, "route", "add", "default", "via", strings.TrimSuffix(h.Addr, "2")+"1")
	}
}

// Bytes returns how many bytes the host has received and sent over its link, by the kernel.
func (h *Host) Bytes() (received, sent int64) {
	h.n.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", h.pid))
	if err != nil {
		h.n.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, counts, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "far" {
			fields := strings.Fields(counts)
			received, _ = strconv.ParseInt(fields[0], 10, 64)
			sent, _ = strconv.ParseInt(fields[8], 10, 64)
		}
	}
	return received, sent
}

// SetLink cuts the link, or joins it again. What is sent meanwhile is lost.
func (h *Host) SetLink(up bool) {
	h.n.t.Helper()
	state := "down"
	if up {
		state = "up"
	}
	h.n.ip(h.n.pid, "link", "set", h.near, state)
}

// within runs f on a thread in the namespace of a process. Sockets that it makes stay there.
func within(pid int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Delay forwards a port of the network's loopback to target and holds back each byte for
// delay, each way. It returns the address.
func (n *Network) Delay(target string, delay time.Duration) string {
	n.t.Helper()
	var lis net.Listener
	err := within(n.pid, func() (err error) {
		lis, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { lis.Close() })
	go func() { // ended by the listener's end
		for {
			near, err := lis.Accept()
			if err != nil {
				return
			}
			var far net.Conn
			if err := within(n.pid, func() (err error) {
				far, err = net.DialTimeout("tcp", target, 10*time.Second)
				return err
			}); err != nil {
				near.Close()
				continue
			}
			go delayed(near, far, delay)
			go delayed(far, near, delay)
		}
	}()
	return lis.Addr().String()
}

// chunk is what was read at once, and when it is to be written.
type chunk struct {
	data []byte
	due  time.Time
}

// delayed copies until either end closes.
func delayed(to, from net.Conn, delay time.Duration) {
	chunks := make(chan chunk, 256)
	go func() {
		defer close(chunks)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				chunks <- chunk{data[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	var w io.Writer = to
	for c := range chunks {
		<-time.After(time.Until(c.due))
		if _, err := w.Write(c.data); err != nil {
			w = io.Discard // the reader ends when its end is closed
			from.Close()
		}
	}
	to.Close()
	from.Close()
}
