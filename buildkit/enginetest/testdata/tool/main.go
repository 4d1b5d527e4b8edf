// Tool is the only program in the images that the engine's tests build: a few
// commands with their arguments, "," between two commands.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// commands take exactly as many arguments as their usage names.
var commands = map[string]struct {
	args int
	run  func(a []string) error
}{
	"write":    {2, func(a []string) error { return os.WriteFile(a[0], []byte(a[1]), 0o644) }},
	"mkdir":    {1, func(a []string) error { return os.MkdirAll(a[0], 0o755) }},
	"rm":       {1, func(a []string) error { return os.RemoveAll(a[0]) }},
	"mv":       {2, func(a []string) error { return os.Rename(a[0], a[1]) }},
	"link":     {2, func(a []string) error { return os.Link(a[0], a[1]) }},
	"fifo":     {1, func(a []string) error { return syscall.Mkfifo(a[0], 0o622) }},
	"symlink":  {2, func(a []string) error { return os.Symlink(a[0], a[1]) }},
	"chmod":    {2, chmod},
	"chown":    {3, chown},
	"touch":    {2, touch},
	"sleep":    {2, sleep},
	"random":   {1, random},
	"noise":    {2, noise},
	"sum":      {2, sum},
	"need":     {2, need},
	"dial":     {1, dial},
	"abstract": {1, abstract},
	"show":     {1, show},
	"list":     {2, list},
	"fill":     {1, fill},
	"uname":    {1, uname},
	"hostname": {1, hostname},
	"cpus":     {1, cpus},
	"open":     {1, func(a []string) error { return os.WriteFile(a[0], nil, 0o666) }},
	"fail":     {1, func(a []string) error { os.Exit(number(a[0])); return nil }},
}

func main() {
	for args := os.Args[1:]; len(args) > 0; {
		c, ok := commands[args[0]]
		if !ok || len(args) < 1+c.args {
			fmt.Fprintf(os.Stderr, "tool: %q: no such command or too few arguments\n", args)
			os.Exit(2)
		}
		if err := c.run(args[1 : 1+c.args]); err != nil {
			fmt.Fprintf(os.Stderr, "tool: %s: %v\n", strings.Join(args[:1+c.args], " "), err)
			os.Exit(1)
		}
		if args = args[1+c.args:]; len(args) > 0 {
			args = args[1:] // the ","
		}
	}
}

// chmod MODE PATH: octal, with setuid, setgid and sticky as chmod(2) has them.
func chmod(a []string) error {
	bits, err := strconv.ParseUint(a[0], 8, 12)
	if err != nil {
		return err
	}
	mode := os.FileMode(bits & 0o777)
	for bit, m := range map[uint64]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if bits&bit != 0 {
			mode |= m
		}
	}
	return os.Chmod(a[1], mode)
}

// chown UID GID PATH
func chown(a []string) error { return os.Lchown(a[2], number(a[0]), number(a[1])) }

// touch SECONDS PATH: the file's mtime, since 1970.
func touch(a []string) error {
	at := time.Unix(int64(number(a[0])), 987654321)
	return os.Chtimes(a[1], at, at)
}

// sleep DURATION MARK: by the mark a test finds the process.
func sleep(a []string) error {
	d, err := time.ParseDuration(a[0])
	time.Sleep(d)
	return err
}

// need MIB DURATION: that much memory for so long.
func need(a []string) error {
	memory := make([]byte, number(a[0])<<20)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	err := sleep(a[1:])
	memory[0] = 2
	return err
}

// uname PATH: what uname(2) gives as the kernel's release.
func uname(a []string) error {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return err
	}
	var release []byte
	for _, c := range name.Release {
		release = append(release, byte(c))
	}
	return os.WriteFile(a[0], release, 0o644)
}

// hostname PATH
func hostname(a []string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return os.WriteFile(a[0], []byte(name), 0o644)
}

// cpus PATH: how many processors this process may use.
func cpus(a []string) error { return os.WriteFile(a[0], []byte(strconv.Itoa(runtime.NumCPU())), 0o644) }

// random PATH: bytes that no other run gives.
func random(a []string) error {
	return os.WriteFile(a[0], []byte(rand.Text()), 0o644)
}

// noise MIB PATH: bytes that do not compress, and that every run gives.
func noise(a []string) error {
	f, err := os.Create(a[1])
	if err != nil {
		return err
	}
	random, piece := mathrand.NewChaCha8([32]byte{}), make([]byte, 1<<20)
	for i := 0; i < number(a[0]) && err == nil; i++ {
		random.Read(piece)
		_, err = f.Write(piece)
	}
	return errors.Join(err, f.Close())
}

// sum PATH FILE: writes the sha256 of the file PATH to FILE.
func sum(a []string) error {
	f, err := os.Open(a[0])
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	return os.WriteFile(a[1], fmt.Appendf(nil, "%x\n", h.Sum(nil)), 0o644)
}

// dial HOST:PORT
func dial(a []string) error {
	c, err := net.DialTimeout("tcp", a[0], 5*time.Second)
	if err == nil {
		err = c.Close()
	}
	return err
}

// abstract NAME: a unix socket that is no file.
func abstract(a []string) error {
	c, err := net.DialTimeout("unix", "@"+a[0], 5*time.Second)
	if err == nil {
		err = c.Close()
	}
	return err
}

// show PATH: the file's lines on stdout.
func show(a []string) error {
	data, err := os.ReadFile(a[0])
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

// list DIR FILE: writes to FILE the owner, mode, links and name of all below DIR.
func list(a []string) error {
	out, err := os.Create(a[1])
	if err != nil {
		return err
	}
	err = filepath.WalkDir(a[0], func(path string, _ fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil {
			err = syscall.Lstat(path, &st)
		}
		if err == nil {
			_, err = fmt.Fprintf(out, "%d:%d %o %d %s\n", st.Uid, st.Gid, st.Mode, st.Nlink, path)
		}
		return err
	})
	return errors.Join(err, out.Close())
}

// fill PATH: writes until the disk is full, which is an error.
func fill(a []string) error {
	f, err := os.Create(a[0])
	for piece := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(piece)
	}
	return err
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
