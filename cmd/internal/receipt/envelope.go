package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/signature"
)

// PayloadType is the media type of a statement, by the in-toto specification.
const PayloadType = "application/vnd.in-toto+json"

// MaxFile is how many bytes a receipt may have.
const MaxFile = 1 << 20

// Envelope is a DSSE envelope. Its one signature is over the pre-authentication encoding
// of the payload: OpenPGP's, binary and detached, or a machine key's, 64 bytes.
//
// Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"` // base64
	Signatures  []Signature `json:"signatures"`
}

// Signature is a signature of an envelope.
type Signature struct {
	KeyID string `json:"keyid"` // a fingerprint, or SHA256:… of a machine key
	Sig   string `json:"sig"`   // base64
	// Certificate goes with a machine key: an envelope in which a person says that the
	// key is that of a machine of theirs. DSSE's verifiers pass over it.
	Certificate *Envelope `json:"cert,omitempty"`
}

// Sign makes the signature of a pre-authentication encoding.
type Sign func(pae []byte) (Signature, error)

// Seal returns the receipt of s: an envelope as JSON, with a newline.
func Seal(s Statement, sign Sign) ([]byte, error) {
	e, err := seal(PayloadType, s.Bytes(), sign)
	if err != nil {
		return nil, fmt.Errorf("signing the receipt of %s: %w", s.Output(), err)
	}
	data, err := json.Marshal(e)
	return append(data, '\n'), err
}

func seal(payloadType string, payload []byte, sign Sign) (Envelope, error) {
	sig, err := sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return Envelope{}, err
	}
	return Envelope{payloadType, base64.StdEncoding.EncodeToString(payload), []Signature{sig}}, nil
}

// Receipt is a receipt that was read.
type Receipt struct {
	Statement
	Name string // where it was read from
	// Person is whose word it is: the owner of the key that signed it, or of the key that
	// certified the machine's.
	Person     string
	MachineKey string // ID of the machine key, "" if a person signed it
	KeyID      string // of the key that it says signed it; foreign text
	// Why is the reason why the receipt is nobody's word; nil if it is Person's.
	Why error
}

// Open reads a receipt and checks its signature by the keys in ring. What is wrong with it
// is in Why.
func Open(name string, data []byte, ring *signature.Keyring, now time.Time) Receipt {
	r := Receipt{Name: name}
	r.Why = r.open(data, ring, now)
	return r
}

func (r *Receipt) open(data []byte, ring *signature.Keyring, now time.Time) error {
	e, payload, err := parseEnvelope(data, PayloadType)
	if err != nil {
		return err
	}
	r.KeyID = e.Signatures[0].KeyID
	if r.Statement, err = Parse(payload); err != nil {
		return err
	}
	if r.Finished().After(now.Add(clockTolerance)) {
		return fmt.Errorf("it was built on %s, over a day ahead", r.Finished().Format(time.DateOnly))
	}
	pae, sig := dsse.PAE(e.PayloadType, payload), e.Signatures[0]
	if !isMachineKey(sig.KeyID) {
		if sig.Certificate != nil {
			return errors.New("a person's signature has no certificate")
		}
		r.Person, err = signerOf(ring, pae, sig, now)
		return err
	}
	if sig.Certificate == nil {
		return errors.New("no certificate says whose machine key signed it")
	}
	cert, err := openCertificate(*sig.Certificate, ring, now)
	if err != nil {
		return fmt.Errorf("the certificate of its machine key: %w", err)
	}
	if err := cert.verify(sig, pae, r.Finished()); err != nil {
		return err
	}
	r.Person, r.MachineKey = cert.person, sig.KeyID
	return nil
}

// signerOf returns who made the OpenPGP signature sig.
func signerOf(ring *signature.Keyring, pae []byte, sig Signature, now time.Time) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(sig.Sig)
	if err != nil {
		return "", errors.New("its signature is not base64")
	}
	signer, err := ring.Detached(raw, pae, now)
	return signer.Person, err
}

// parseEnvelope reads a DSSE envelope with one signature, in the one form that sx writes.
func parseEnvelope(data []byte, payloadType string) (e Envelope, payload []byte, err error) {
	if len(data) > MaxFile {
		return e, nil, errors.New("it has more than 1 MiB")
	}
	if err := oci.CheckBounds(data); err != nil {
		return e, nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return e, nil, fmt.Errorf("it is no DSSE envelope that this sx understands: %w", err)
	}
	if again, err := json.Marshal(e); err != nil || !bytes.Equal(again, bytes.TrimSuffix(data, []byte("\n"))) {
		return e, nil, errors.New("it is not written as sx writes envelopes")
	}
	payload, err = e.check(payloadType)
	return e, payload, err
}

func (e Envelope) check(payloadType string) ([]byte, error) {
	switch {
	case e.PayloadType != payloadType:
		return nil, fmt.Errorf("its payload is of the type %.100q, want %q", e.PayloadType, payloadType)
	case len(e.Signatures) != 1:
		return nil, fmt.Errorf("it has %d signatures, want one", len(e.Signatures))
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil, errors.New("its payload is not base64")
	}
	return payload, nil
}

// machineKeyPrefix begins the ID of a machine key.
const machineKeyPrefix = "SHA256:"

func isMachineKey(keyID string) bool { return strings.HasPrefix(keyID, machineKeyPrefix) }

// MediaType is the type of a receipt: as a layer, and as the artifact type of its manifest.
const MediaType = "application/vnd.dsse.envelope.v1+json"

// Says reports whether data is a receipt of s that names the key keyID as its signer. It
// checks no signature.
func Says(data []byte, s Statement, keyID string) bool {
	e, payload, err := parseEnvelope(data, PayloadType)
	return err == nil && e.Signatures[0].KeyID == keyID && bytes.Equal(payload, s.Bytes())
}
