package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// answerer is a buildkitd that only says that it is there.
type answerer struct {
	controlapi.UnimplementedControlServer
}

func (answerer) Info(context.Context, *controlapi.InfoRequest) (*controlapi.InfoResponse, error) {
	return &controlapi.InfoResponse{}, nil
}

// serve starts a at a port of loopback, with TLS where cfg is set.
func serve(t *testing.T, a controlapi.ControlServer, cfg *tls.Config) (address string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var opts []grpc.ServerOption
	if cfg != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(cfg)))
	}
	srv := grpc.NewServer(opts...)
	controlapi.RegisterControlServer(srv, a)
	go srv.Serve(lis) // ended by Stop
	t.Cleanup(srv.Stop)
	return "tcp://" + lis.Addr().String()
}

// issue writes a certificate for host and its key, signed by parent or itself.
func issue(t *testing.T, dir, name, host string, parent *tls.Certificate, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: until, DNSNames: []string{host},
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, signerKey := c, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, signerKey)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	must(t, os.WriteFile(filepath.Join(dir, name+".pem"), certPEM, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, name+"-key.pem"), keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	must(t, err)
	return pair
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each mistake about TLS is told with its remedy, and without one there is a
// connection.
func TestTLSMistakes(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name+".pem") }
	later := time.Now().Add(time.Hour)
	ca := issue(t, dir, "ca", "ca", nil, later)
	issue(t, dir, "other-ca", "ca", nil, later)
	server := issue(t, dir, "server", "builder.example.org", &ca, later)
	expired := issue(t, dir, "expired", "builder.example.org", &ca, time.Unix(1, 0))
	issue(t, dir, "client", "client", &ca, later)
	issue(t, dir, "stranger", "client", nil, later)

	authorities := x509.NewCertPool()
	authorities.AddCert(ca.Leaf)
	config := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{c}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities}
	}
	mutual, old, plain := serve(t, &answerer{}, config(server)), serve(t, &answerer{}, config(expired)), serve(t, &answerer{}, nil)
	good := TLS{CACert: file("ca"), Cert: file("client"), Key: file("client-key"), ServerName: "builder.example.org"}
	but := func(change func(*TLS)) TLS {
		c := good
		change(&c)
		return c
	}
	for what, c := range map[string]struct {
		address string
		tls     TLS
		want    string // "" for a connection
	}{
		"all is well":              {mutual, good, ""},
		"no TLS":                   {mutual, TLS{}, "one that wants TLS needs --tlscacert, --tlscert and --tlskey"},
		"TLS to one without":       {plain, good, "it does not use TLS; leave out the tls settings"},
		"another authority":        {mutual, but(func(c *TLS) { c.CACert = file("other-ca") }), "signed by an authority that is not trusted here; name the authority's certificate with --tlscacert"},
		"the host's name":          {mutual, but(func(c *TLS) { c.ServerName = "" }), "its certificate is for builder.example.org, not for 127.0.0.1; name what the certificate is for with --tlsservername"},
		"no client certificate":    {mutual, but(func(c *TLS) { c.Cert, c.Key = "", "" }), "it wants a client certificate; give one with --tlscert and --tlskey"},
		"a stranger's certificate": {mutual, but(func(c *TLS) { c.Cert, c.Key = file("stranger"), file("stranger-key") }), "it refuses the client certificate (unknown certificate authority)"},
		"no key":                   {mutual, but(func(c *TLS) { c.Key = "" }), "needs both tlscert and tlskey"},
		"another's key":            {mutual, but(func(c *TLS) { c.Key = file("stranger-key") }), "private key does not match public key"},
		"no such file":             {mutual, but(func(c *TLS) { c.CACert = "/none.pem" }), "open /none.pem: no such file or directory"},
		"not a certificate":        {mutual, but(func(c *TLS) { c.CACert = file("client-key") }), "client-key.pem holds no certificate"},
		"both ways":                {mutual, but(func(c *TLS) { c.Dir = dir }), "tlsdir and tlscacert, tlscert, tlskey exclude each other"},
		"an empty folder":          {mutual, TLS{Dir: t.TempDir()}, "holds neither ca.pem, cert.pem and key.pem nor"},
		"expired":                  {old, good, "its certificate is not valid"},
	} {
		wantRefusal(t, what, c.address, c.tls, c.want)
	}
}

func wantRefusal(t *testing.T, what, address string, files TLS, want string) {
	t.Helper()
	r, err := NewBuildkitd(address, files)
	must(t, err)
	conn, err := r.Connect(t.Context())
	if err == nil {
		conn.Client.Close()
	}
	var refused *buildkit.EngineError
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address)):
		t.Errorf("%s: %v\nwant %s", what, err, want)
	}
}

// What ssh, podman and docker say is told with a way out.
func TestClientMistakes(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	wantRefusal(t, "no ssh", "ssh://h", TLS{}, "there is no ssh in PATH, which is needed to reach it; install it (Debian: apt-get install openssh-client)")
	for _, c := range []struct{ address, says, want string }{
		{"ssh://me@h:22", "bash: line 1: buildctl: command not found", "there is no buildctl at the other end (ssh says: bash: line 1: buildctl: command not found); install it there, in the PATH of a login without a terminal (ssh -p 22 me@h command -v buildctl)"},
		{"ssh://me@[fe80::1]:22", "Host key verification failed.", "log in once by hand and check the host's key: ssh -p 22 me@fe80::1"},
		{"ssh://[::1]", "Permission denied (publickey).", "set up a login without a password, by a key or an agent: ssh ::1"},
		{"ssh://h", "Warning: x\nHost key verification failed.", "log in once by hand and check the host's key: ssh h"},
		{"ssh://h", "me@h: Permission denied (publickey).", "set up a login without a password, by a key or an agent: ssh h"},
		{"ssh://h/run/b.sock", "error: dial unix /run/b.sock: connect: no such file or directory", "there is no buildkitd at the other end that this user may connect to"},
		{"ssh://h", "ssh: connect to host h port 22: Connection refused", "ssh says: ssh: connect to host h port 22: Connection refused; try the same by hand: ssh h buildctl debug workers"},
		{"podman-container://c", `OCI runtime error: runc: exec failed: unable to start container process: exec: "buildctl": executable file not found in $PATH`, "there is no buildctl at the other end"},
		{"docker-container://c", "Error response from daemon: No such container: c", "docker says: Error response from daemon: No such container: c; try the same by hand: docker exec -i c buildctl debug workers"},
		{"docker-container://c", "", "docker ended without a message (exit status 127)"},
	} {
		for _, program := range []string{"ssh", "podman", "docker"} {
			script := fmt.Sprintf("#!/bin/sh\necho '%s' >&2\nexit 127\n", c.says)
			if c.says == "" {
				script = "#!/bin/sh\nexit 127\n"
			}
			must(t, os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755))
		}
		wantRefusal(t, c.says, c.address, TLS{}, c.want)
	}
}

// A client program hears of the end before it is ended, so that its far side does.
func TestClientHearsOfTheEnd(t *testing.T) {
	bin, ended := t.TempDir(), filepath.Join(t.TempDir(), "ended")
	must(t, os.WriteFile(filepath.Join(bin, "podman"), []byte("#!/bin/sh\ncat >/dev/null\n: >"+ended+"\n"), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	r, err := NewBuildkitd("podman-container://c", TLS{})
	must(t, err)
	conn, err := r.dial(t.Context())
	must(t, err)
	must(t, conn.Close())
	if _, err := os.Stat(ended); err != nil {
		t.Error("podman was killed before its input ended")
	}
}

// An address that cannot be one is refused before anything is dialled.
func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"unix:///run/buildkit/buildkitd.sock": true, "tcp://h:1234": true, "tcp://[::1]:1234": true, "ssh://u@h:22/run/sock": true,
		"docker-container://my_box": true, "podman-container://box": true,
		"unix://run/sock": false, "unix://": false, "tcp://h": false, "tcp://:1234": false, "tcp://::1:1234": false, "tcp://h:1/x": false, "ssh://": false, "ssh://u:password@h": false,
		"docker-container://": false, "kube-pod://pod-0": false, "http://h": false, "npipe:////./pipe/x": false, "": false, "::": false,
	} {
		if _, err := NewBuildkitd(address, TLS{}); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", address, err, ok)
		}
	}
	for address, want := range map[string]bool{"tcp://10.0.0.1:1": true, "tcp://127.0.0.1:1": false, "tcp://localhost:1": false, "tcp://[::1]:1": false, "ssh://h": false} {
		if r, err := NewBuildkitd(address, TLS{}); err != nil || r.Plain() != want {
			t.Errorf("%s: plain is not %v (%v)", address, want, err)
		}
	}
}

// What listens and is no buildkitd is told apart from what is none at all.
func TestNoBuildKit(t *testing.T) {
	wantRefusal(t, "an old BuildKit", serve(t, controlapi.UnimplementedControlServer{}, nil), TLS{}, "is not BuildKit, or is older than 0.11")
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer lis.Close()
	go func() { // ended by the listener's end
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	wantRefusal(t, "a web server", "tcp://"+lis.Addr().String(), TLS{}, "it does not answer like BuildKit")
	wantRefusal(t, "no socket", "unix://"+filepath.Join(t.TempDir(), "sock"), TLS{}, "there is no such socket; start buildkitd there")
}
