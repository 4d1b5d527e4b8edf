//go:build linux

package cluster

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed network.sh
var networkScript string

// namespaces are the network, mounts and processes of a cluster. A shell is their
// first process; they end with it, and it ends with its input, which this process
// holds.
type namespaces struct {
	first *exec.Cmd
	input io.Closer
	parts []*Part
}

// newNamespaces makes them, with the addresses of so many nodes.
func newNamespaces(dir string, nodes int) (*namespaces, error) {
	log, err := os.Create(filepath.Join(dir, "network.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	script := filepath.Join(dir, "network.sh")
	if err := os.WriteFile(script, []byte(networkScript), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("sh", "-eu", script, strconv.Itoa(nodes))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setsid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("making namespaces for a cluster: %w", err)
	}
	s := &namespaces{first: cmd, input: input}
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		s.end()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("making the network of a cluster: %w: %s", err, said)
	}
	return s, nil
}

func (s *namespaces) pid() int { return s.first.Process.Pid }

// end kills everything in them. A stopped nsenter would never wait for its child.
func (s *namespaces) end() {
	for _, p := range s.parts {
		p.outside.Process.Signal(unix.SIGCONT)
	}
	s.input.Close()
	s.first.Process.Kill()
	s.first.Wait()
}

// Part is a process of the cluster that has all its processes below it.
type Part struct {
	outside *exec.Cmd // nsenter, whose child is the process
	done    chan struct{}
}

// run starts a program in the namespaces, with its output in a file.
func (s *namespaces) run(log string, args ...string) (*Part, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &Part{s.command(args...), make(chan struct{})}
	p.outside.Stdout, p.outside.Stderr = out, out
	if err := p.outside.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", args[0], err)
	}
	go func() {
		p.outside.Wait()
		close(p.done)
	}()
	s.parts = append(s.parts, p)
	return p, nil
}

// command returns a command that runs inside the namespaces.
func (s *namespaces) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(s.pid()), "--net", "--mount", "--pid", "--"}, args...)...)
}

// Kill ends the part at once and waits for its end.
func (p *Part) Kill() error {
	err := p.signal(unix.SIGKILL)
	<-p.done
	return err
}

// Stop stops the part's first process (SIGSTOP); Continue lets it go on.
func (p *Part) Stop() error { return p.signal(unix.SIGSTOP) }

// Continue continues a part after [Part.Stop], and nsenter, which stops with its child.
func (p *Part) Continue() error {
	return errors.Join(p.signal(unix.SIGCONT), p.outside.Process.Signal(unix.SIGCONT))
}

func (p *Part) signal(s unix.Signal) error {
	pid, err := child(p.outside.Process.Pid)
	if err != nil {
		return err
	}
	return unix.Kill(pid, s)
}

// child returns the first child of a process.
func child(parent int) (int, error) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		data, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(data), ") ") // after the name
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("process %d has no child", parent)
}

// relay forwards a new port of this machine's loopback to an address in the
// namespaces' network, until it is closed.
func (s *namespaces) relay(address string) (net.Listener, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			near, err := lis.Accept()
			if err != nil {
				return
			}
			go s.forward(near, address)
		}
	}()
	return lis, nil
}

func (s *namespaces) forward(near net.Conn, address string) {
	defer near.Close()
	far, err := s.dial(address)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		io.Copy(far, near)
		far.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(near, far)
}

// dial connects to an address in the namespaces' network.
func (s *namespaces) dial(address string) (conn net.Conn, err error) {
	if went := s.there(func() { conn, err = net.DialTimeout("tcp4", address, 10*time.Second) }); went != nil {
		return nil, went
	}
	return conn, err
}

// there calls f in the namespaces' network. A socket stays in the network in which it was
// made, so one thread goes there for as long as that takes. An address without a name and
// one family is dialled by this thread.
func (s *namespaces) there(f func()) error {
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", s.pid()))
	if err != nil {
		return err
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return back // the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return nil
}
