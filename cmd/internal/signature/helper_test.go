package signature

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// A writer makes keys and messages for tests, and whatever gpg would refuse to make. It ends the test on a failure.
type writer struct{ t testing.TB }

func (w writer) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// date is a time in the life of the test's keys, which were made in January 2025.
func date(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

var (
	born  = date("2025-01-01")
	today = date("2026-06-01")
)

func at(when time.Time) *packet.Config {
	return &packet.Config{
		Time: func() time.Time { return when }, Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519,
		DefaultHash: crypto.SHA256, NonDeterministicSignaturesViaNotation: packet.BoolPointer(false),
	}
}

// person returns a key made at born; days is how long it is good, 0 for ever.
func (w writer) person(name string, days uint32) *openpgp.Entity {
	config := at(born)
	config.KeyLifetimeSecs = days * 86400
	return w.key(name, config)
}

func (w writer) key(name string, config *packet.Config) *openpgp.Entity {
	w.t.Helper()
	e, err := openpgp.NewEntity(name, "", strings.ToLower(name)+"@example.org", config)
	w.must(err)
	return e
}

// rsa returns a key of so many bits.
func (w writer) rsa(name string, bits int) *openpgp.Entity {
	w.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	w.must(err)
	private := packet.NewRSAPrivateKey(born, key)
	e := &openpgp.Entity{PrimaryKey: &private.PublicKey, PrivateKey: private, Identities: map[string]*openpgp.Identity{}}
	w.must(e.AddUserId(name, "", strings.ToLower(name)+"@example.org", at(born)))
	return e
}

// signer adds a signing subkey, good for days.
func (w writer) signer(e *openpgp.Entity, when time.Time, days uint32) *openpgp.Subkey {
	w.t.Helper()
	config := at(when)
	config.KeyLifetimeSecs = days * 86400
	w.must(e.AddSigningSubkey(config))
	return &e.Subkeys[len(e.Subkeys)-1]
}

// renew adds a signature of e over its user ID, so that it is good for days from born.
func (w writer) renew(e *openpgp.Entity, when time.Time, change func(*packet.Signature)) {
	w.t.Helper()
	for _, id := range e.Identities {
		old := id.SelfCertifications[0].Packet
		s := &packet.Signature{
			Version: old.Version, SigType: old.SigType, PubKeyAlgo: old.PubKeyAlgo, Hash: crypto.SHA256, CreationTime: when,
			IssuerKeyId: old.IssuerKeyId, IssuerFingerprint: old.IssuerFingerprint,
			FlagsValid: true, FlagSign: true, FlagCertify: true,
		}
		change(s)
		w.must(s.SignUserId(id.Name, e.PrimaryKey, e.PrivateKey, at(when)))
		id.SelfCertifications = append(id.SelfCertifications, packet.NewVerifiableSig(s))
	}
}

// public returns the key for import, as it stands now.
func (w writer) public(entities ...*openpgp.Entity) []byte {
	w.t.Helper()
	var b bytes.Buffer
	for _, e := range entities {
		w.must(e.Serialize(&b))
	}
	return b.Bytes()
}

// A letter is a message in the making.
type letter struct {
	payload  []byte
	by       *packet.PrivateKey
	at       time.Time
	hash     crypto.Hash // SHA-256 if 0
	compress packet.CompressionAlgo
	kind     packet.SignatureType
	lifetime uint32 // seconds that the signature is good
	changed  []byte // the payload that stands there in place of the signed one
}

// parts are the packets of a letter.
func (w writer) parts(l letter) (onePass, literal, sig []byte) {
	w.t.Helper()
	if l.hash == 0 {
		l.hash = crypto.SHA256
	}
	s := &packet.Signature{
		Version: l.by.Version, SigType: l.kind, PubKeyAlgo: l.by.PubKeyAlgo, Hash: l.hash, CreationTime: l.at,
		IssuerKeyId: &l.by.KeyId, IssuerFingerprint: l.by.Fingerprint,
	}
	if l.lifetime > 0 {
		s.SigLifetimeSecs = &l.lifetime
	}
	h, err := s.PrepareSign(at(l.at))
	w.must(err)
	h.Write(l.payload)
	w.must(s.Sign(h, l.by, at(l.at)))
	ops := &packet.OnePassSignature{Version: 3, SigType: l.kind, Hash: l.hash, PubKeyAlgo: l.by.PubKeyAlgo, KeyId: l.by.KeyId, IsLast: true}
	if l.by.Version == 6 {
		ops.Version, ops.Salt, ops.KeyFingerprint = 6, s.Salt(), l.by.Fingerprint
	}
	var a, c bytes.Buffer
	w.must(ops.Serialize(&a))
	w.must(s.Serialize(&c))
	if l.changed != nil {
		l.payload = l.changed
	}
	return a.Bytes(), w.literal(l.payload), c.Bytes()
}

func (w writer) literal(payload []byte) []byte {
	var b bytes.Buffer
	out, err := packet.SerializeLiteral(closer{&b}, true, "", 0)
	w.must(err)
	_, err = out.Write(payload)
	w.must(err)
	w.must(out.Close())
	return b.Bytes()
}

// message is a letter as gpg --sign writes it.
func (w writer) message(l letter) []byte {
	w.t.Helper()
	a, b, c := w.parts(l)
	whole := bytes.Join([][]byte{a, b, c}, nil)
	if l.compress == 0 {
		return whole
	}
	return w.compressed(l.compress, whole)
}

func (w writer) compressed(algo packet.CompressionAlgo, data []byte) []byte {
	w.t.Helper()
	var b bytes.Buffer
	out, err := packet.SerializeCompressed(closer{&b}, algo, &packet.CompressionConfig{Level: 9})
	w.must(err)
	_, err = out.Write(data)
	w.must(err)
	w.must(out.Close())
	return b.Bytes()
}

// asGPG compresses into a packet of unknown length, which gpg writes.
func (w writer) asGPG(data []byte) []byte {
	w.t.Helper()
	b := bytes.NewBuffer([]byte{0xa3, byte(packet.CompressionZIP)})
	out, err := flate.NewWriter(b, flate.BestCompression)
	w.must(err)
	_, err = out.Write(data)
	w.must(err)
	w.must(out.Close())
	return b.Bytes()
}

func (w writer) armored(kind string, data []byte) []byte {
	w.t.Helper()
	var b bytes.Buffer
	out, err := armor.Encode(&b, kind, nil)
	w.must(err)
	_, err = out.Write(data)
	w.must(err)
	w.must(out.Close())
	return append(b.Bytes(), '\n')
}

// raw is a packet with any tag and content.
func raw(tag byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xc0 | tag, 0xff}, uint32(len(content))), content...)
}

type closer struct{ io.Writer }

func (closer) Close() error { return nil }
