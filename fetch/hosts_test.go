package fetch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkHosts fetches 200 sources of 0.5 MB from 20 hosts that take 50 ms for each
// answer, with each program that a variable names: SX, BEFORE (an older sx), CURL (7.66 or
// newer) and ARIA2C, 16 at once each. Only sx hashes and syncs what it fetches.
func BenchmarkHosts(b *testing.B) {
	files := make([][]byte, 200)
	for i := range files {
		files[i] = noise(uint64(i), 500_000)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		fmt.Sscanf(r.URL.Path, "/%d", &i)
		time.Sleep(50 * time.Millisecond)
		w.Write(files[i])
	}))
	server.Listener.Close()
	var err error
	if server.Listener, err = net.Listen("tcp4", "0.0.0.0:0"); err != nil {
		b.Fatal(err)
	}
	server.Start()
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	url := func(i int) string { return fmt.Sprintf("http://127.0.1.%d:%d/%d", 1+i%20, port, i) }
	for _, p := range fetchers {
		program := os.Getenv(p.variable)
		if program == "" {
			continue
		}
		b.Run(strings.ToLower(p.variable), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				args, err := p.prepare(dir, files, url)
				if err != nil {
					b.Fatal(err)
				}
				cmd := exec.Command(program, args...)
				cmd.Env = append(os.Environ(), "HOME="+dir)
				b.StartTimer()
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
			}
		})
	}
}

// fetchers are the programs of BenchmarkHosts. What prepare returns are the arguments.
var fetchers = []struct {
	variable string
	prepare  func(dir string, files [][]byte, url func(int) string) ([]string, error)
}{
	{"SX", prepareTree},
	{"BEFORE", prepareTree},
	{"CURL", func(dir string, files [][]byte, url func(int) string) ([]string, error) {
		var list strings.Builder
		for i := range files {
			fmt.Fprintf(&list, "url = %q\noutput = %q\n", url(i), filepath.Join(dir, fmt.Sprint(i)))
		}
		path := filepath.Join(dir, "list")
		return []string{"-sS", "-Z", "--parallel-max", "16", "-K", path}, os.WriteFile(path, []byte(list.String()), 0o644)
	}},
	{"ARIA2C", func(dir string, files [][]byte, url func(int) string) ([]string, error) {
		var list strings.Builder
		for i := range files {
			fmt.Fprintln(&list, url(i))
		}
		path := filepath.Join(dir, "list")
		return []string{"-q", "-j16", "-d", dir, "-i", path}, os.WriteFile(path, []byte(list.String()), 0o644)
	}},
}

// prepareTree makes a tree with a definition for each file.
func prepareTree(dir string, files [][]byte, url func(int) string) ([]string, error) {
	for i, data := range files {
		def := filepath.Join(dir, "packages", "core", fmt.Sprintf("p%d", i))
		toml := fmt.Sprintf("[package]\nname = \"p%d\"\nversion = \"1\"\n\n[sources.file]\nhash = \"%x\"\nfile = \"f%d\"\nmirrors = [%q]\n",
			i, sha256.Sum256(data), i, url(i))
		if err := errors.Join(os.MkdirAll(def, 0o755),
			os.WriteFile(filepath.Join(def, "package.toml"), []byte(toml), 0o644),
			os.WriteFile(filepath.Join(def, "Containerfile"), []byte("FROM scratch\nCOPY . /\n"), 0o644)); err != nil {
			return nil, err
		}
	}
	return []string{"-C", dir, "fetch"}, nil
}
