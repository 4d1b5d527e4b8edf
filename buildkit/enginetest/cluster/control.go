//go:build linux

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

const token = "administrator" // of everything; the API server is reached from this machine only

// startAPI starts etcd and the API server, and writes the files by which clients
// inside and outside of the cluster's network reach it.
func (c *Cluster) startAPI() (err error) {
	key, err := signingKey()
	if err != nil {
		return err
	}
	for name, data := range map[string]string{
		"tokens.csv":  token + `,admin,1,"system:masters"` + "\n",
		"account.key": key,
		"inside":      c.kubeconfig(apiAddress, token),
		"kubeconfig":  c.kubeconfig(c.relay.Addr().String(), token),
	} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(data), 0o600); err != nil {
			return err
		}
	}
	if c.Etcd, err = c.run("etcd", "--data-dir="+c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn"); err != nil {
		return err
	}
	c.APIServer, err = c.run("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379", "--bind-address=10.88.0.1", "--advertise-address=10.88.0.1", "--secure-port=6443",
		"--cert-dir="+c.path("pki"), "--token-auth-file="+c.path("tokens.csv"), "--authorization-mode=RBAC", "--anonymous-auth=false",
		"--allow-privileged=true", "--service-cluster-ip-range=10.90.0.0/24", "--service-account-issuer=https://sx.test",
		"--service-account-key-file="+c.path("account.key"), "--service-account-signing-key-file="+c.path("account.key"),
		// Endpoints on this kind of network are refused, and none is needed.
		"--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false", "--kubelet-preferred-address-types=InternalIP")
	return err
}

// startControllers starts what needs a ready API server. A lost node is noticed after
// 12 seconds.
func (c *Cluster) startControllers() (err error) {
	shared := []string{"--kubeconfig=" + c.path("inside"), "--leader-elect=false", "--bind-address=127.0.0.1"}
	if c.Manager, err = c.run("kube-controller-manager", append(shared,
		"--service-account-private-key-file="+c.path("account.key"), "--root-ca-file="+c.path("pki/apiserver.crt"),
		"--flex-volume-plugin-dir="+c.path("flex"), // by default it makes a folder of the host
		"--node-monitor-grace-period=12s", "--node-monitor-period=2s")...); err != nil {
		return err
	}
	c.Scheduler, err = c.run("kube-scheduler", shared...)
	return err
}

func (c *Cluster) path(name string) string { return filepath.Join(c.Dir, name) }

// run starts a program inside the cluster's namespaces, with a log in Dir.
func (c *Cluster) run(program string, args ...string) (*Part, error) {
	return c.spaces.run(c.path(program+".log"), append([]string{filepath.Join(c.programs, program)}, args...)...)
}

// Login returns the content of a kubeconfig file for the owner of a token.
func (c *Cluster) Login(token string) string { return c.kubeconfig(c.relay.Addr().String(), token) }

// kubeconfig returns the file for clients that reach the API server at address. Its
// certificate, which it makes itself, is one for "kubernetes".
func (c *Cluster) kubeconfig(address, token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
clusters: [{name: test, cluster: {server: "https://%s", certificate-authority: %q, tls-server-name: kubernetes}}]
users: [{name: admin, user: {token: %s}}]
`, address, c.path("pki/apiserver.crt"), token)
}

// signingKey returns the key that signs the tokens of service accounts.
func signingKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), nil
}
