package receipt

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/signature"
)

// CertificateType is the media type of what certifies a machine key.
const CertificateType = "application/vnd.stagex.sx.machine-key.v1+json"

// MachineKeyLife is how long a machine key is certified for.
const MachineKeyLife = 2 * 365 * 24 * time.Hour

// clockTolerance is how far clocks of machines may be apart.
const clockTolerance = 24 * time.Hour

// certificate says that an ed25519 key is that of a machine of the person who signs it.
type certificate struct {
	Key     string    `json:"ed25519"` // hexadecimal
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`

	person string // who signed it
}

// MachineKey signs receipts of this machine, without a person at hand.
type MachineKey struct {
	ID          string
	Owner       string // fingerprint of the OpenPGP key that its certificate says certified it
	private     ed25519.PrivateKey
	certificate Envelope
	expires     time.Time
}

// The files of a machine key.
const (
	machineSecret = "machine.key"  // the seed, 64 hexadecimal digits, mode 0600
	machineCert   = "machine.cert" // the certificate's envelope
)

// ErrNoMachineKey means that this machine has no key.
var ErrNoMachineKey = errors.New("this machine has no key: sx keys new-machine makes one")

// ExistsError means that this machine has a key already.
type ExistsError struct{ ID, Path string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("this machine has the key %s already: sx keys revoke-machine ends it, and removes %s", e.ID, e.Path)
}

// NewMachine makes a key for this machine and keeps it in dir; certify signs for its owner.
// The secret is written last, so that a key without a certificate never exists.
func NewMachine(dir string, certify Sign, now time.Time) (*MachineKey, error) {
	if old, err := LoadMachine(dir); err == nil {
		return nil, &ExistsError{old.ID, filepath.Join(dir, machineSecret)}
	}
	if err := disk.EnsurePrivate(dir); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	created := now.UTC().Truncate(time.Second)
	payload, err := json.Marshal(certificate{Key: hex.EncodeToString(public), Created: created, Expires: created.Add(MachineKeyLife)})
	if err != nil {
		return nil, err
	}
	cert, err := seal(CertificateType, payload, certify)
	if err != nil {
		return nil, fmt.Errorf("certifying the machine's key: %w", err)
	}
	data, err := json.Marshal(cert)
	if err != nil {
		return nil, err
	}
	if err := disk.WriteFile(filepath.Join(dir, machineCert), append(data, '\n'), 0o644, ""); err != nil {
		return nil, err
	}
	secret := hex.EncodeToString(private.Seed()) + "\n"
	if err := disk.WriteFile(filepath.Join(dir, machineSecret), []byte(secret), 0o600, ""); err != nil {
		return nil, err
	}
	return LoadMachine(dir)
}

// LoadMachine reads the key of this machine from dir. The error is [ErrNoMachineKey] if
// there is none.
func LoadMachine(dir string) (*MachineKey, error) {
	path := filepath.Join(dir, machineSecret)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoMachineKey
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s is readable by other users: chmod 600 it, and make a new key if they may have read it", path)
	}
	if err != nil {
		return nil, err
	}
	text, err := disk.ReadFile(path, 1024)
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is no machine key: remove it, and make a new one with sx keys new-machine", path)
	}
	k := &MachineKey{private: ed25519.NewKeyFromSeed(seed)}
	if k.ID, err = dsse.SHA256KeyID(k.private.Public()); err != nil {
		return nil, err
	}
	return k, k.loadCertificate(filepath.Join(dir, machineCert))
}

func (k *MachineKey) loadCertificate(path string) error {
	data, err := disk.ReadFile(path, MaxFile)
	if err != nil {
		return fmt.Errorf("reading the machine key's certificate: %w", err)
	}
	e, payload, err := parseEnvelope(data, CertificateType)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var c certificate
	if err := json.Unmarshal(payload, &c); err != nil || c.Key != hex.EncodeToString(k.private.Public().(ed25519.PublicKey)) {
		return fmt.Errorf("%s certifies another key than this machine's", path)
	}
	k.certificate, k.expires, k.Owner = e, c.Expires, e.Signatures[0].KeyID
	return nil
}

// RemoveMachine removes the key of this machine from dir, the secret first.
func RemoveMachine(dir string) error {
	for _, name := range []string{machineSecret, machineCert} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.SyncDir(dir)
}

// Sign signs a receipt, see [Seal].
func (k *MachineKey) Sign(pae []byte) (Signature, error) {
	if now := time.Now(); now.After(k.expires) {
		return Signature{}, fmt.Errorf("the machine's key has expired on %s: remove it, and make a new one with sx keys new-machine", k.expires.Format(time.DateOnly))
	}
	sig := ed25519.Sign(k.private, pae)
	return Signature{k.ID, base64.StdEncoding.EncodeToString(sig), &k.certificate}, nil
}

// Public returns the key that verifies what k signs.
func (k *MachineKey) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// openCertificate reads what certifies a machine key, and finds whose it is.
func openCertificate(e Envelope, ring *signature.Keyring, now time.Time) (c certificate, err error) {
	payload, err := e.check(CertificateType)
	if err != nil {
		return c, err
	}
	sig := e.Signatures[0]
	if isMachineKey(sig.KeyID) || sig.Certificate != nil {
		return c, errors.New("a person's key certifies a machine's, not another machine's")
	}
	if c.person, err = signerOf(ring, dsse.PAE(e.PayloadType, payload), sig, now); err != nil {
		return c, err
	}
	return c, json.Unmarshal(payload, &c)
}

// verify checks a machine's signature of what was built at a time.
func (c certificate) verify(sig Signature, pae []byte, built time.Time) error {
	public, err := hex.DecodeString(c.Key)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return errors.New("its certificate has no ed25519 key")
	}
	if id, err := dsse.SHA256KeyID(ed25519.PublicKey(public)); err != nil || id != sig.KeyID {
		return errors.New("its certificate is about another machine key")
	}
	raw, err := base64.StdEncoding.DecodeString(sig.Sig)
	if err != nil || !ed25519.Verify(public, pae, raw) {
		return errors.New("the signature is bad: the content was changed, or another key made it")
	}
	switch {
	case built.Before(c.Created.Add(-clockTolerance)):
		return fmt.Errorf("it was built on %s, before its machine key was made", built.Format(time.DateOnly))
	case built.After(c.Expires):
		return fmt.Errorf("its machine key had expired on %s", c.Expires.Format(time.DateOnly))
	}
	return nil
}
