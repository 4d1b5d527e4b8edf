package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkPreseed brings the same 40 images from the same registry on loopback
// with each tool that there is, into a new folder each time. A tool is a variable
// that names its program: SX, BEFORE (an older sx), CRANE, SKOPEO, and DOCKERD,
// which wants docker in PATH. Beside the time it reports
//
//	s        until the tool is done
//	synced-s until the disk has it too: sx syncs what it keeps, others leave that to the system
//	net-MB   bytes that the registry sent
//	requests that it answered
//	disk-MB  blocks in use afterwards, files with several names once
//	peak-MB  of memory, of the largest process
//	cpu-s    of all processes
//
// The sum of the images is 2 GB, half of it shared: 1.1 GB in all.
func BenchmarkPreseed(b *testing.B) {
	folder := b.TempDir()
	s, err := makeSet(folder, release)
	if err != nil {
		b.Fatal(err)
	}
	r := serve(b, s)
	b.Logf("%d images name %d MB, distinct %d MB", len(s.images), s.named>>20, s.unique>>20)
	for _, p := range peers {
		program := os.Getenv(p.variable)
		if program == "" {
			continue
		}
		b.Run(p.name, func(b *testing.B) {
			var sum usage
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				prepared, err := p.prepare(b, program, dir, r.host, s)
				if err != nil {
					b.Fatal(err)
				}
				sync(b, dir) // of what others wrote
				r.reset()
				b.StartTimer()
				spent, err := prepared()
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				sync(b, dir)
				sum.synced += time.Since(began)
				sum = usage{sum.synced, sum.net + r.sent.Load(), sum.requests + r.requests.Load(), sum.disk + onDisk(b, dir), max(sum.peak, spent.peak), sum.cpu + spent.cpu}
				b.StartTimer()
			}
			sum.report(b)
		})
	}
}

type usage struct {
	synced                    time.Duration // after the tool was done
	net, requests, disk, peak int64
	cpu                       time.Duration
}

// spent is what a tool took of this machine.
type spent struct {
	peak int64
	cpu  time.Duration
}

func (u usage) report(b *testing.B) {
	mb := func(n int64) float64 { return float64(n) / 1e6 }
	b.ReportMetric(mb(u.net)/float64(b.N), "net-MB")
	b.ReportMetric(float64(u.requests)/float64(b.N), "requests")
	b.ReportMetric(mb(u.disk)/float64(b.N), "disk-MB")
	b.ReportMetric(mb(u.peak), "peak-MB")
	b.ReportMetric(u.cpu.Seconds()/float64(b.N), "cpu-s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric((b.Elapsed()+u.synced).Seconds()/float64(b.N), "synced-s")
	b.ReportMetric(0, "ns/op")
}

// peer is a tool. What prepare returns is measured.
type peer struct {
	name, variable string
	prepare        func(b *testing.B, program, dir, host string, s *set) (func() (spent, error), error)
}

var peers = []peer{
	{"sx", "SX", prepareSX},
	{"sx-before", "BEFORE", prepareSX},
	{"crane-one-layout", "CRANE", prepareCrane},
	{"skopeo-shared-blobs", "SKOPEO", prepareSkopeo},
	{"docker-pull-save", "DOCKERD", prepareDocker},
}

// prepareSX makes a tree whose digests/ are those of the set.
func prepareSX(_ *testing.B, program, dir, host string, s *set) (func() (spent, error), error) {
	var digests strings.Builder
	for _, i := range s.images {
		def := filepath.Join(dir, "packages", "core", strings.TrimPrefix(i.output, "core-"))
		toml := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0\"\n", filepath.Base(def))
		if err := errors.Join(os.MkdirAll(def, 0o755),
			os.WriteFile(filepath.Join(def, "package.toml"), []byte(toml), 0o644),
			os.WriteFile(filepath.Join(def, "Containerfile"), []byte("FROM scratch\nCOPY . /\n"), 0o644)); err != nil {
			return nil, err
		}
		fmt.Fprintf(&digests, "%s %s\n", i.digest, i.output)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "digests"), 0o755),
		os.WriteFile(filepath.Join(dir, "digests", "core.txt"), []byte(digests.String()), 0o644)); err != nil {
		return nil, err
	}
	return func() (spent, error) {
		cmd := exec.Command(program, "-C", dir, "preseed")
		cmd.Env = append(os.Environ(), "HOME="+dir, "SX_REGISTRIES_HOSTS="+host)
		return run(cmd)
	}, nil
}

// prepareCrane pulls all into one layout: crane's best, though not yet an out/.
func prepareCrane(_ *testing.B, program, dir, host string, s *set) (func() (spent, error), error) {
	args := []string{"pull", "--insecure", "--format=oci"}
	for _, i := range s.images {
		args = append(args, host+"/stagex/"+i.output+"@sha256:"+i.digest)
	}
	return func() (spent, error) {
		return run(exec.Command(program, append(args, filepath.Join(dir, "layout"))...))
	}, nil
}

// prepareSkopeo copies one image after the other into layouts that share their
// blobs: skopeo's best.
func prepareSkopeo(_ *testing.B, program, dir, host string, s *set) (func() (spent, error), error) {
	return func() (sum spent, err error) {
		for _, i := range s.images {
			p, err := run(exec.Command(program, "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
				"--dest-shared-blob-dir", filepath.Join(dir, "blobs"),
				"docker://"+host+"/stagex/"+i.output+"@sha256:"+i.digest, "oci:"+filepath.Join(dir, i.output)+":1.0"))
			if err != nil {
				return sum, err
			}
			sum = spent{max(sum.peak, p.peak), sum.cpu + p.cpu}
		}
		return sum, nil
	}, nil
}

// preseedSH is what upstream's src/preseed.sh does with docker for one line.
const preseedSH = `set -e
ref=$HOST/stagex/${1#* }@sha256:${1%% *}
docker pull -q $ref >/dev/null
mkdir -p $DIR/out/${1#* }
docker save $ref | tar -xC $DIR/out/${1#* }`

// prepareDocker starts a dockerd of its own; the peak is the daemon's.
func prepareDocker(b *testing.B, program, dir, host string, s *set) (func() (spent, error), error) {
	daemon := exec.Command(program, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", "unix://"+filepath.Join(dir, "sock"), "--iptables=false", "--ip6tables=false",
		"--bridge=none", "--userland-proxy=false", "--feature", "containerd-snapshotter=true")
	daemon.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	b.Cleanup(func() {
		daemon.Process.Signal(syscall.SIGTERM)
		daemon.Wait()
	})
	os.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "sock"))
	for deadline := time.Now().Add(time.Minute); exec.Command("docker", "version").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, errors.New("dockerd does not answer")
		}
	}
	var lines strings.Builder
	for _, i := range s.images {
		fmt.Fprintf(&lines, "%s %s\n", i.digest, i.output)
	}
	return func() (spent, error) {
		cmd := exec.Command("sh", "-c", `xargs -d '\n' -n 1 -P $(nproc) sh -c "$SCRIPT" sh`)
		cmd.Stdin = strings.NewReader(lines.String())
		cmd.Env = append(os.Environ(), "SCRIPT="+preseedSH, "HOST="+host, "DIR="+dir)
		clients, err := run(cmd)
		if err != nil {
			return clients, err
		}
		return ofDaemon(daemon.Process.Pid, clients)
	}, nil
}

// run runs cmd. Peak is that of its memory, or of the largest of those that it
// waited for.
func run(cmd *exec.Cmd) (spent, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return spent{}, fmt.Errorf("%s: %w\n%s", cmd.Path, err, out)
	}
	state := cmd.ProcessState
	return spent{state.SysUsage().(*syscall.Rusage).Maxrss << 10, state.UserTime() + state.SystemTime()}, nil
}

// ofDaemon adds what a process that goes on has taken: VmHWM of its status, and
// utime and stime of its stat, in hundredths of a second.
func ofDaemon(pid int, clients spent) (spent, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return clients, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return clients, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	kb, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return spent{kb << 10, clients.cpu + time.Duration(user+system)*10*time.Millisecond}, errors.Join(err, err1, err2)
}

// sync waits until the filesystem of dir has written all.
func sync(b *testing.B, dir string) {
	b.Helper()
	f, err := os.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		b.Fatal(err)
	}
}

// onDisk counts blocks, those of a file with several names once.
func onDisk(b *testing.B, dir string) (sum int64) {
	b.Helper()
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a daemon is at work
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		if !seen[st.Ino] {
			seen[st.Ino] = true
			sum += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}
