package preseed

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"codeberg.org/stagex/sx/cache"
)

// noRegistry is the variable that says that this machine has no docker-registry.
const noRegistry = "SX_TEST_NO_REGISTRY"

// debian is the registry that Debian packages, docker's own.
type debian struct {
	t      testing.TB
	config string
	host   string
}

// htpasswd is "secret", by bcrypt at its least cost.
const htpasswd = "user:$2a$04$QWT4e/BM1/1KlNHHGPejte5NYtuzcYBJ1qCLK/FMrnvgB7NmWG3G2\n"

// newDebian starts one that wants a password.
func newDebian(t testing.TB) *debian {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil && os.Getenv(noRegistry) == "1" {
		t.Skip(noRegistry + "=1: docker's registry is not tested with")
	}
	if err != nil {
		t.Fatalf("%v (Debian: docker-registry); %s=1 leaves these tests out", err, noRegistry)
	}
	dir := t.TempDir()
	d := &debian{t: t, config: filepath.Join(dir, "config.yml")}
	d.write(filepath.Join(dir, "htpasswd"), htpasswd)
	d.write(d.config, fmt.Sprintf(`version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: %[1]s/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0"}
auth: {htpasswd: {realm: test, path: %[1]s/htpasswd}}
`, dir))
	cmd := exec.Command(program, "serve", d.config)
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	})
	d.host = d.address(out)
	return d
}

func (d *debian) write(name, data string) {
	d.t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// address waits until the registry says where it listens, and reads on.
func (d *debian) address(out io.Reader) string {
	d.t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, out)
			return m[1]
		}
	}
	d.t.Fatalf("docker-registry ended: %v", lines.Err())
	return ""
}

// collect runs the registry's garbage collection as its administrator would.
func (d *debian) collect() {
	d.t.Helper()
	out, err := exec.Command("docker-registry", "garbage-collect", "--delete-untagged", d.config).CombinedOutput()
	if err != nil {
		d.t.Fatalf("collecting garbage: %v\n%s", err, out)
	}
}

func (d *debian) client() *Client {
	d.t.Helper()
	c, err := NewClient(ClientOptions{Keychain: login{}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

type login struct{}

func (login) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "user", Password: "secret"}, nil
}

// What was pushed to docker's registry is preseeded from it, byte for byte.
func TestDebianImages(t *testing.T) {
	d := newDebian(t)
	reg := Registry{d.host, "stagex"}
	shared := noise(1, 300_000)
	p := d.client().NewPusher()
	var images []image
	for _, output := range []string{"core-a", "core-b"} {
		img := newImage(output, shared, []byte(output))
		images = append(images, img)
		for range 2 { // the second finds all there
			if _, err := p.Push(t.Context(), reg.Repository(output), img.contents(), []string{"1.0", "latest"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.Sent() > 310_000 {
		t.Errorf("%d bytes were sent: the shared layer was not mounted", p.Sent())
	}
	_, store := newTree(t)
	var wanted []Image
	for _, img := range images {
		wanted = append(wanted, img.wanted())
	}
	opts := Options{
		Store: store, Registries: []Registry{reg}, Client: ClientOptions{Keychain: login{}},
		Backoff: func(int) time.Duration { return 0 },
	}
	if _, err := Run(t.Context(), wanted, opts); err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		l, err := store.Whole(img.output)
		if err != nil || l.Digest() != img.digest() {
			t.Errorf("%s: %s, %v", img.output, l.Digest(), err)
		}
	}
	opts.Client.Keychain = anonymous{}
	_, store = newTree(t)
	opts.Store = store
	_, err := Run(t.Context(), wanted, opts)
	wantError(t, err, "core-a")
}

// files of a definition, as sx fetch --push has them.
func testFiles(contents map[string][]byte) (files []File) {
	for name, data := range contents {
		files = append(files, File{name, inMemory("", data)})
	}
	return files
}

// Sources are blobs that outlive the collection of garbage, and come by range.
func TestDebianSources(t *testing.T) {
	d := newDebian(t)
	name := d.host + "/stagex/sources"
	data := noise(1, 200_000)
	client := d.client()
	contents, tag, err := Sources("core/rust", "1.80.0", testFiles(map[string][]byte{"rustc.tar.xz": data}))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		if present, err := client.NewPusher().Push(t.Context(), name, contents, []string{tag}); err != nil || present != want {
			t.Fatalf("push %d: present %v, %v", i, present, err)
		}
	}
	d.collect()
	for _, ranges := range []string{"", "bytes=150000-"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, SourcePrefix(name)+cache.DigestOf(data).Hex(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", ranges)
		resp, err := client.SourceTransport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(got) == 0 || !strings.HasSuffix(string(data), string(got)) || (ranges == "") != (len(got) == len(data)) {
			t.Errorf("range %q: %s, %d bytes, %v", ranges, resp.Status, len(got), err)
		}
	}
}
