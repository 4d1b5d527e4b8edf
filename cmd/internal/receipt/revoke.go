package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/signature"
)

// RevocationType is the media type of what ends a machine key.
const RevocationType = "application/vnd.stagex.sx.machine-key-revocation.v1+json"

// RevocationSuffix ends the names of files that are revocations.
const RevocationSuffix = ".revoked.json"

// Revocation says that what a machine key signed counts for nothing, whenever that was: the
// time in a receipt is its signer's claim. It is a DSSE envelope that the person signs whose
// key certified the machine's.
type Revocation struct {
	Name    string    // where it was read from
	KeyID   string    // of the machine key, "SHA256:…"
	Revoked time.Time // by the clock of whoever signed it
	Signer  string    // fingerprint of the OpenPGP key that it says signed it
	Person  string    // whose key that is
	// Why is the reason why it is nobody's word; nil if it is Person's.
	Why error
}

// revocation is the payload of its envelope.
type revocation struct {
	Key     string    `json:"key"`
	Revoked time.Time `json:"revoked"`
}

// Revoke returns the revocation of a machine key: an envelope as JSON, with a newline.
func Revoke(keyID string, sign Sign, now time.Time) ([]byte, error) {
	if err := checkMachineKey(keyID); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(revocation{keyID, now.UTC().Truncate(time.Second)})
	if err != nil {
		return nil, err
	}
	e, err := seal(RevocationType, payload, sign)
	if err != nil {
		return nil, fmt.Errorf("signing the revocation of %s: %w", keyID, err)
	}
	data, err := json.Marshal(e)
	return append(data, '\n'), err
}

// checkMachineKey returns an error unless id is the ID of a machine key in its one form.
func checkMachineKey(id string) error {
	digits := strings.TrimPrefix(id, machineKeyPrefix)
	raw, err := base64.RawStdEncoding.DecodeString(digits)
	if err != nil || len(raw) != 32 || !isMachineKey(id) || base64.RawStdEncoding.EncodeToString(raw) != digits {
		return fmt.Errorf("%.100q is no machine key: sx receipt show prints them, such as SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", id)
	}
	return nil
}

// IsRevocation reports whether data is meant to be a revocation.
func IsRevocation(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte(`{"payloadType":"`+RevocationType+`"`))
}

// OpenRevocation reads a revocation and checks its signature by the keys in ring. What is
// wrong with it is in Why.
func OpenRevocation(name string, data []byte, ring *signature.Keyring, now time.Time) Revocation {
	r := Revocation{Name: name}
	pae, sig, err := r.parse(data)
	if err == nil {
		r.Person, err = signerOf(ring, pae, sig, now)
	}
	if owner, ok := ring.Find(r.Signer); err == nil && (!ok || owner.Person != r.Person) {
		err = errors.New("another key signed it than it says")
	}
	r.Why = err
	return r
}

// parse reads a revocation, and returns what is signed in it.
func (r *Revocation) parse(data []byte) (pae []byte, sig Signature, err error) {
	e, payload, err := parseEnvelope(data, RevocationType)
	if err != nil {
		return nil, sig, err
	}
	var said revocation
	if err := json.Unmarshal(payload, &said); err != nil {
		return nil, sig, fmt.Errorf("it is no revocation that this sx understands: %w", err)
	}
	if again, err := json.Marshal(said); err != nil || !bytes.Equal(again, payload) {
		return nil, sig, errors.New("it is not written as sx writes revocations")
	}
	if err := checkMachineKey(said.Key); err != nil {
		return nil, sig, err
	}
	sig = e.Signatures[0]
	if isMachineKey(sig.KeyID) || sig.Certificate != nil {
		return nil, sig, errors.New("a person revokes a machine's key, not another machine")
	}
	r.KeyID, r.Revoked, r.Signer = said.Key, said.Revoked, sig.KeyID
	return dsse.PAE(e.PayloadType, payload), sig, nil
}

// RevocationFile returns the name of the file of a machine key's revocation by a signer.
func RevocationFile(keyID, signer string) string {
	return plainID(keyID) + "." + plainID(signer) + RevocationSuffix
}

// Revoked are the machine keys that people revoked.
type Revoked []Revocation

// KeepRevocation writes a revocation into a folder, from which [LoadRevoked] reads it. It
// counts there for whom its signature counts now, also once that key has expired.
func KeepRevocation(dir string, r Revocation, data []byte) error {
	if r.Why != nil {
		return r.Why
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(dir, RevocationFile(r.KeyID, r.Signer)), data, 0o600, "")
}

// maxRevoked bounds the revocations of a folder.
const maxRevoked = 10_000

// LoadRevoked reads the revocations that were kept in a folder. One counts for the person
// whose key it names, if ring has that key: its signature was checked when it was kept.
func LoadRevoked(dir string, ring *signature.Keyring) (all Revoked, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), RevocationSuffix) {
			continue
		}
		if len(all) == maxRevoked {
			return nil, fmt.Errorf("%s holds more than %d revocations", dir, maxRevoked)
		}
		path := filepath.Join(dir, e.Name())
		data, err := disk.ReadFile(path, MaxFile)
		r := Revocation{Name: path}
		if err == nil {
			_, _, err = r.parse(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; import the revocation again, or remove the file", path, err)
		}
		if owner, ok := ring.Find(r.Signer); ok {
			r.Person = owner.Person
			all = append(all, r)
		}
	}
	return all, nil
}

// Of returns the revocation of a machine key by a person.
func (all Revoked) Of(keyID, person string) (Revocation, bool) {
	at := slices.IndexFunc(all, func(r Revocation) bool {
		return r.Why == nil && r.KeyID == keyID && signature.SamePerson(r.Person, person)
	})
	if at < 0 {
		return Revocation{}, false
	}
	return all[at], true
}

// Strike makes receipts nobody's word that a revoked machine key signed for the person who
// revoked it.
func (all Revoked) Strike(receipts []Receipt) {
	for i := range receipts {
		r := &receipts[i]
		if r.Why != nil || r.MachineKey == "" {
			continue
		}
		if gone, ok := all.Of(r.MachineKey, r.Person); ok {
			r.Why = fmt.Errorf("%s revoked its machine key on %s (%s)", r.Person, gone.Revoked.Format(time.DateOnly), gone.Name)
		}
	}
}
