package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"codeberg.org/stagex/sx/buildkit"
)

// TLS has the TLS settings for an engine at tcp://, named as in buildctl. With the zero
// TLS the connection is not encrypted.
type TLS struct {
	CACert string // path of the authority that signed the engine's certificate, PEM; "": the system's
	Cert   string // path of the client's certificate, PEM
	Key    string // path of its key, PEM
	Dir    string // folder with all three: ca.pem, cert.pem, key.pem, or ca.crt, tls.crt, tls.key
	// ServerName is the name that the engine's certificate must be for; "" means the
	// host of the address.
	ServerName string
}

func (t TLS) on() bool { return t != TLS{} }

// over returns a Dialer that encrypts the connections of dial. It reads the files for each
// connection, so that a renewed certificate is used without a restart.
func (t TLS) over(dial buildkit.Dialer, host string) buildkit.Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		cfg, err := t.config(host)
		if err != nil {
			return nil, &tlsFileError{err}
		}
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, cfg)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return conn, nil
	}
}

// tlsFileError is an error in the user's own certificate files.
type tlsFileError struct{ error }

func (e *tlsFileError) Unwrap() error { return e.error }

func (t TLS) config(host string) (*tls.Config, error) {
	if err := t.fromDir(); err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: host, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	if t.ServerName != "" {
		cfg.ServerName = t.ServerName
	}
	if t.CACert != "" {
		pem, err := os.ReadFile(t.CACert)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CACert)
		}
	}
	switch {
	case t.Cert == "" && t.Key == "":
		return cfg, nil
	case t.Cert == "" || t.Key == "":
		return nil, fmt.Errorf("a client certificate needs both tlscert and tlskey")
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate %s with its key %s: %w", t.Cert, t.Key, err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// fromDir finds the three files in Dir by the names that buildctl uses.
func (t *TLS) fromDir() error {
	if t.Dir == "" {
		return nil
	}
	if t.CACert != "" || t.Cert != "" || t.Key != "" {
		return fmt.Errorf("tlsdir and tlscacert, tlscert, tlskey exclude each other")
	}
	for _, names := range [][3]string{{"ca.pem", "cert.pem", "key.pem"}, {"ca.crt", "tls.crt", "tls.key"}} {
		if _, err := os.Stat(filepath.Join(t.Dir, names[0])); err == nil {
			t.CACert, t.Cert, t.Key = filepath.Join(t.Dir, names[0]), filepath.Join(t.Dir, names[1]), filepath.Join(t.Dir, names[2])
			return nil
		}
	}
	return fmt.Errorf("%s holds neither ca.pem, cert.pem and key.pem nor ca.crt, tls.crt and tls.key", t.Dir)
}
