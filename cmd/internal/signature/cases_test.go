package signature

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// A testCase is a row of the table in docs/signatures.md: keys, files, and what becomes of the last file.
type testCase struct {
	name string
	// sx is "counts", or the message; with what another part of it may be, "…" stands for the rest.
	sx string
	// gpg is what Debian's gpg says of the last file with the keys imported: the words of its status lines and the exit code
	// of gpg --verify, on a machine whose clock says 1 June 2026.
	gpg  string
	note string // why both differ
	make func(writer) ([]byte, [][]byte)
}

var (
	digest = strings.Repeat("ab", 32)
	image  = Image{Repository: "stagex/core-musl", Digest: digest, Version: "1.2.5"}
	signed = NewPayload("core-musl", "1.2.5", digest)
)

const oldForm = `[{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"pgp container image signature"},"optional":null}]`

// simple is a case of one good key that signs a payload.
func simple(payload string) func(writer) ([]byte, [][]byte) {
	return func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		return w.public(e), [][]byte{w.message(letter{payload: []byte(payload), by: e.PrivateKey, at: date("2025-03-01"), compress: packet.CompressionZIP})}
	}
}

// bytesOf is a case of one good key whose good message is changed.
func bytesOf(change func(w writer, e *openpgp.Entity, l letter) []byte) func(writer) ([]byte, [][]byte) {
	return func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		return w.public(e), [][]byte{change(w, e, letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01")})}
	}
}

// of is a case of one key, changed, whose primary key signed at a date.
func of(days uint32, signedOn string, change func(w writer, e *openpgp.Entity)) func(writer) ([]byte, [][]byte) {
	return func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", days)
		if change != nil {
			change(w, e)
		}
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: e.PrivateKey, at: date(signedOn)})}
	}
}

// ofSubkey is of, with a subkey that signs.
func ofSubkey(days uint32, signedOn string, change func(w writer, e *openpgp.Entity, s *openpgp.Subkey)) func(writer) ([]byte, [][]byte) {
	return func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		s := w.signer(e, born, days)
		m := w.message(letter{payload: signed, by: s.PrivateKey, at: date(signedOn)})
		if change != nil {
			change(w, e, s)
		}
		return w.public(e), [][]byte{m}
	}
}

func revoke(reason packet.ReasonForRevocation, when string) func(writer, *openpgp.Entity) {
	return func(w writer, e *openpgp.Entity) { w.must(e.Revoke(reason, "", at(date(when)))) }
}

func revokeSubkey(reason packet.ReasonForRevocation, when string) func(writer, *openpgp.Entity, *openpgp.Subkey) {
	return func(w writer, _ *openpgp.Entity, s *openpgp.Subkey) { w.must(s.Revoke(reason, "", at(date(when)))) }
}

// with is a case of a key of another kind.
func with(config func(*packet.Config)) func(writer) ([]byte, [][]byte) {
	return func(w writer) ([]byte, [][]byte) {
		c := at(born)
		config(c)
		e := w.key("Ann", c)
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01"), hash: crypto.SHA512})}
	}
}

const (
	good       = "GOODSIG VALIDSIG 0"
	nothing    = "NODATA 2"
	bad        = "BADSIG 1"
	expiredKey = "EXPKEYSIG VALIDSIG 0"
	revokedKey = "REVKEYSIG VALIDSIG 0"
	noKey      = "ERRSIG NO_PUBKEY 2"
)

const (
	asPayload = "gpg knows nothing of payloads"
	asTime    = "gpg asks whether the key is good today, sx whether it was when it signed"
	asRevoked = "gpg exits 0 with a warning"
	asSubkey  = "gpg counts a bad subkey as no key"
)

var cases = []testCase{
	{"today's payload", "counts", good, "", simple(string(signed))},
	{"the payload published up to 2025.06.0", "counts", good, "", simple(fmt.Sprintf(oldForm, "stagex/core-musl", digest))},
	{"a payload with docker.io/ before the repository", "counts", good, "", simple(strings.Replace(string(signed), "stagex/", "docker.io/stagex/", 1))},
	{"a payload with another host", "counts", good, "", simple(strings.Replace(string(signed), "stagex/", "registry.example:5000/stagex/", 1))},
	{"a payload without a tag", "counts", good, "", simple(strings.Replace(string(signed), ":1.2.5", "", 1))},
	{"a payload with white space", "counts", good, "", simple(" " + string(signed) + "\n")},
	{"another image", `it signs "stagex/core-make:1.2.5", another image`, good, asPayload, simple(string(NewPayload("core-make", "1.2.5", digest)))},
	{"another namespace", `it signs "evil/stagex/core-musl:1.2.5", another image`, good, asPayload, simple(strings.Replace(string(signed), "stagex/", "evil/stagex/", 1))},
	{"another digest", "it signs another digest, sha256:" + strings.Repeat("cd", 32), good, asPayload, simple(string(NewPayload("core-musl", "1.2.5", strings.Repeat("cd", 32))))},
	{"another tag", `it signs the tag "1.2.4", and the image's version is "1.2.5"`, good, asPayload, simple(string(NewPayload("core-musl", "1.2.4", digest)))},
	{"an array of two", "the payload's array holds 2 elements, not exactly one", good, asPayload, simple("[" + strings.Trim(fmt.Sprintf(oldForm, "stagex/core-musl", digest), "[]") + "," + strings.Trim(fmt.Sprintf(oldForm, "stagex/core-musl", digest), "[]") + "]")},
	{"an array of none", "the payload's array holds 0 elements, not exactly one", good, asPayload, simple("[]")},
	{"a payload of another type", `the payload is not understood: its type is "cosign", not "atomic container signature"`, good, asPayload, simple(strings.Replace(string(signed), "atomic container signature", "cosign", 1))},
	{"a key that stands twice in the payload", `the payload is not understood: the key "critical" stands twice`, good, asPayload, simple(strings.Replace(string(signed), `"optional":{}`, `"critical":{}`, 1))},
	{"a payload that is not JSON", "the payload is not understood: not JSON", good, asPayload, simple("core-musl is fine")},

	{"a message as gpg --sign writes it", "counts", good, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte { return w.asGPG(w.message(l)) })},
	{"a message that is not compressed", "counts", good, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte { return w.message(l) })},
	{"a message compressed with zlib", "counts", good, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.compress = packet.CompressionZLIB
		return w.message(l)
	})},
	{"a signature before its content", "counts", good, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		_, b, c := w.parts(l)
		return append(c, b...)
	})},
	{"changed content", "the signature is bad: the content was changed, or another key made it", bad, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.changed = bytes.Replace(signed, []byte("core-musl"), []byte("core-mus1"), 1)
		return w.message(l)
	})},
	{"armored", "it is armored text, which podman and skopeo do not read either: gpg --dearmor makes it binary", good, "gpg reads both; a lookaside store is binary", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		return w.armored("PGP MESSAGE", w.message(l))
	})},
	{"detached", "it is a detached signature: want the signed message itself (gpg --sign)", "2", "gpg asks for the data", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		_, _, c := w.parts(l)
		return c
	})},
	{"not signed", "it is not signed", nothing, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		return w.literal(l.payload)
	})},
	{"truncated in its content", "it is truncated", nothing, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		m := w.message(l)
		return m[:100]
	})},
	{"truncated before its signature", "it is truncated", nothing, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		a, b, _ := w.parts(l)
		return append(a, b...)
	})},
	{"truncated in its signature", "it is truncated", nothing, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		m := w.message(l)
		return m[:len(m)-10]
	})},
	{"truncated while compressed", "it is truncated", nothing, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		m := w.asGPG(w.message(l))
		return m[:len(m)-20]
	})},
	{"empty", "it is empty", nothing, "", bytesOf(func(writer, *openpgp.Entity, letter) []byte { return []byte{} })},
	{"not OpenPGP at all", "it is not an OpenPGP message", nothing, "", bytesOf(func(writer, *openpgp.Entity, letter) []byte { return []byte("<html>404</html>") })},
	{"two messages in one file", "it holds two messages", bad, "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		return append(w.message(l), w.message(l)...)
	})},
	{"two compressed messages in one file", "something follows the message", good, "gpg reads the first and drops the second", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.compress = packet.CompressionZIP
		return append(w.message(l), w.message(l)...)
	})},
	{"something behind the compressed data", "something follows the message", good, "gpg drops it", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		return append(w.asGPG(w.message(l)), w.asGPG(w.message(l))...)
	})},
	{"two signatures in one file", "it holds two signatures: want one a file", good, "podman and skopeo refuse it too", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		a, b, c := w.parts(l)
		first := bytes.Clone(a)
		first[len(first)-1] = 0 // not the last
		return bytes.Join([][]byte{first, a, b, c, c}, nil)
	})},
	{"a key embedded in the message", "it holds a key, and no key counts because a message brought it", "UNEXPECTED 2", "gpg imports nothing either", func(w writer) ([]byte, [][]byte) {
		ann, eve := w.person("Ann", 0), w.person("Eve", 0)
		return w.public(ann), [][]byte{append(w.public(eve), w.message(letter{payload: signed, by: eve.PrivateKey, at: date("2025-03-01")})...)}
	}},
	{"a key that the user does not have", "not one of your keys made it", noKey, "", func(w writer) ([]byte, [][]byte) {
		ann, eve := w.person("Ann", 0), w.person("Eve", 0)
		return w.public(ann), [][]byte{w.message(letter{payload: signed, by: eve.PrivateKey, at: date("2025-03-01")})}
	}},
	{"a signature over text", "its signature is of type 0x01: want 0x00, over binary data", good, "line endings would be open", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.kind = packet.SigTypeText
		return w.message(l)
	})},
	{"a compression bomb", "it decompresses to more than 1 MiB", good, "gpg decompresses all of it", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.payload = make([]byte, 64<<20)
		l.compress = packet.CompressionZIP
		return w.message(l)
	})},
	{"compressed in many layers", "it is compressed twice", "UNEXPECTED 2", "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		m := w.message(l)
		for range 40 {
			m = w.compressed(packet.CompressionZIP, m)
		}
		return m
	})},
	{"10 MB of packets", "it has more than 1 MiB", good, "gpg skips what it does not use", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		return append(bytes.Repeat(raw(10, []byte("PGP")), 10<<20/9), w.message(l)...)
	})},
	{"200 packets before the message", "it has more than 8 packets", good, "gpg skips what it does not use", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		return append(bytes.Repeat(raw(10, []byte("PGP")), 200), w.message(l)...)
	})},

	{"the same person twice", "the same person made signature-1: people count once", good, "gpg counts nobody", func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		m := func(on string) []byte {
			return w.message(letter{payload: signed, by: e.PrivateKey, at: date(on)})
		}
		return w.public(e), [][]byte{m("2025-03-01"), m("2025-03-02")}
	}},
	{"a subkey and its primary key", "the same person made signature-1: people count once", good, "", func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		s := w.signer(e, born, 0)
		return w.public(e), [][]byte{
			w.message(letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01")}),
			w.message(letter{payload: signed, by: s.PrivateKey, at: date("2025-03-01")}),
		}
	}},
	{"two keys of one person (--person)", "the same person made signature-1: people count once", good, "", func(w writer) ([]byte, [][]byte) {
		a, b := w.person("Twin", 0), w.person("Twin", 0)
		return w.public(a, b), [][]byte{
			w.message(letter{payload: signed, by: a.PrivateKey, at: date("2025-03-01")}),
			w.message(letter{payload: signed, by: b.PrivateKey, at: date("2025-03-01")}),
		}
	}},
	{"two people", "counts", good, "", func(w writer) ([]byte, [][]byte) {
		a, b := w.person("Ann", 0), w.person("Bob", 0)
		return w.public(a, b), [][]byte{
			w.message(letter{payload: signed, by: a.PrivateKey, at: date("2025-03-01")}),
			w.message(letter{payload: signed, by: b.PrivateKey, at: date("2025-03-01")}),
		}
	}},

	{"a key that expired since", "counts", expiredKey, asTime, of(365, "2025-03-01", nil)},
	{"a key that had expired", "its key had expired on 2025-01-31", expiredKey, "", of(30, "2025-03-01", nil)},
	{"a key that was renewed before it expired", "counts", good, "", of(30, "2025-03-01", func(w writer, e *openpgp.Entity) {
		w.renew(e, date("2025-01-20"), func(*packet.Signature) {})
	})},
	{"a key that was renewed later", "counts", good, "", of(30, "2025-03-01", func(w writer, e *openpgp.Entity) {
		w.renew(e, date("2025-04-01"), func(*packet.Signature) {})
	})},
	{"a key that was shortened later", "its key had expired on 2025-01-11", expiredKey, "", of(0, "2025-03-01", func(w writer, e *openpgp.Entity) {
		short := uint32(10 * 86400)
		w.renew(e, date("2025-04-01"), func(s *packet.Signature) { s.KeyLifetimeSecs = &short })
	})},
	{"a key revoked without a reason, signed before", "its key was revoked without a reason: no signature of it counts, whatever its date", revokedKey, asRevoked, of(0, "2025-03-01", revoke(packet.NoReason, "2025-06-01"))},
	{"a key revoked without a reason, signed after", "its key was revoked without a reason: no signature of it counts, whatever its date", revokedKey, asRevoked, of(0, "2025-07-01", revoke(packet.NoReason, "2025-06-01"))},
	{"a key revoked as compromised, signed before", "its key was revoked as compromised: no signature of it counts, whatever its date", revokedKey, asRevoked, of(0, "2025-03-01", revoke(packet.KeyCompromised, "2025-06-01"))},
	{"a key revoked as compromised, signed after", "its key was revoked as compromised: no signature of it counts, whatever its date", revokedKey, asRevoked, of(0, "2025-07-01", revoke(packet.KeyCompromised, "2025-06-01"))},
	{"a key revoked as superseded, signed before", "counts", revokedKey, asTime, of(0, "2025-03-01", revoke(packet.KeySuperseded, "2025-06-01"))},
	{"a key revoked as superseded, signed after", "its key was revoked on 2025-06-01 as superseded or retired, before it is dated", revokedKey, asRevoked, of(0, "2025-07-01", revoke(packet.KeySuperseded, "2025-06-01"))},
	{"a key revoked as retired, signed before", "counts", revokedKey, asTime, of(0, "2025-03-01", revoke(packet.KeyRetired, "2025-06-01"))},
	{"a key revoked as retired, signed after", "its key was revoked on 2025-06-01 as superseded or retired, before it is dated", revokedKey, asRevoked, of(0, "2025-07-01", revoke(packet.KeyRetired, "2025-06-01"))},
	{"a key revoked as retired, and then as compromised", "its key was revoked as compromised: no signature of it counts, whatever its date", revokedKey, asRevoked, of(0, "2025-03-01", func(w writer, e *openpgp.Entity) {
		revoke(packet.KeyRetired, "2025-06-01")(w, e)
		revoke(packet.KeyCompromised, "2025-07-01")(w, e)
	})},
	{"a revocation by another key", "counts", good, "", of(0, "2025-07-01", func(w writer, e *openpgp.Entity) {
		eve := w.person("Eve", 0)
		w.must(eve.Revoke(packet.KeyCompromised, "", at(date("2025-06-01"))))
		e.Revocations = eve.Revocations
	})},

	{"a subkey", "counts", good, "", ofSubkey(0, "2025-03-01", nil)},
	{"a subkey that expired since", "counts", expiredKey, asTime, ofSubkey(365, "2025-03-01", nil)},
	{"a subkey that had expired", "its subkey had expired on 2025-01-31", expiredKey, "", ofSubkey(30, "2025-03-01", nil)},
	{"a subkey without a binding", "its subkey is not bound to its key by both", noKey, asSubkey, ofSubkey(0, "2025-03-01", func(_ writer, _ *openpgp.Entity, s *openpgp.Subkey) { s.Bindings = nil })},
	{"a subkey of another key, bound by its thief", "its subkey is not bound to its key by both", "ERRSIG 2", "", func(w writer) ([]byte, [][]byte) {
		ann, eve := w.person("Ann", 0), w.person("Eve", 0)
		s := w.signer(ann, born, 0)
		w.signer(eve, born, 0)
		stolen := &eve.Subkeys[len(eve.Subkeys)-1]
		stolen.PublicKey = s.PublicKey // the binding is made anew, the cross-signature cannot be
		w.must(stolen.Bindings[0].Packet.SignKey(s.PublicKey, eve.PrivateKey, at(born)))
		return w.public(eve), [][]byte{w.message(letter{payload: signed, by: s.PrivateKey, at: date("2025-03-01")})}
	}},
	{"a subkey that may not sign", "its subkey may not sign content", "ERRSIG 2", "", ofSubkey(0, "2025-03-01", func(w writer, e *openpgp.Entity, s *openpgp.Subkey) {
		b := s.Bindings[0].Packet
		b.FlagSign, b.FlagAuthenticate = false, true
		w.must(b.SignKey(s.PublicKey, e.PrivateKey, at(born)))
	})},
	{"a primary key that may only certify", "its key may not sign content: a subkey does that", "ERRSIG 2", "", of(0, "2025-03-01", func(w writer, e *openpgp.Entity) {
		w.renew(e, date("2025-02-01"), func(s *packet.Signature) { s.FlagSign = false })
	})},
	{"a subkey revoked as compromised, signed before", "its subkey was revoked as compromised: no signature of it counts, whatever its date", revokedKey, asRevoked, ofSubkey(0, "2025-03-01", revokeSubkey(packet.KeyCompromised, "2025-06-01"))},
	{"a subkey revoked without a reason, signed before", "its subkey was revoked without a reason: no signature of it counts, whatever its date", revokedKey, asRevoked, ofSubkey(0, "2025-03-01", revokeSubkey(packet.NoReason, "2025-06-01"))},
	{"a subkey revoked as superseded, signed before", "counts", revokedKey, asTime, ofSubkey(0, "2025-03-01", revokeSubkey(packet.KeySuperseded, "2025-06-01"))},
	{"a subkey revoked as retired, signed after", "its subkey was revoked on 2025-06-01 as superseded or retired, before it is dated", revokedKey, asRevoked, ofSubkey(0, "2025-07-01", revokeSubkey(packet.KeyRetired, "2025-06-01"))},
	{"a subkey whose primary key was compromised", "its key was revoked as compromised: no signature of it counts, whatever its date", revokedKey, asRevoked, ofSubkey(0, "2025-03-01", func(w writer, e *openpgp.Entity, _ *openpgp.Subkey) {
		revoke(packet.KeyCompromised, "2025-06-01")(w, e)
	})},

	{"SHA-1 in the key's signatures over itself", "its key vouches for itself with SHA-1 only, which is broken: the owner can renew it", good, "gpg takes them from the key itself", func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		for _, id := range e.Identities {
			id.SelfCertifications[0].Packet.Hash = crypto.SHA1
			w.must(id.SelfCertifications[0].Packet.SignUserId(id.Name, e.PrimaryKey, e.PrivateKey, at(born)))
		}
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01")})}
	}},
	{"SHA-1 in the signature", "it is signed over a SHA-1 hash, which is broken", good, "gpg takes it", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.hash = crypto.SHA1
		return w.message(l)
	})},
	{"RSA of 1024 bits", "its RSA key has 1024 bits: want 2048 at least", good, "gpg takes any", func(w writer) ([]byte, [][]byte) {
		e := w.rsa("Ann", 1024)
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01")})}
	}},
	{"RSA of 2048 bits", "counts", good, "", func(w writer) ([]byte, [][]byte) {
		e := w.rsa("Ann", 2048)
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01")})}
	}},
	{"ed25519, as gpg has it", "counts", good, "", with(func(*packet.Config) {})},
	{"ed25519, as RFC 9580 has it", "counts", nothing, "Debian's gpg does not know it", with(func(c *packet.Config) { c.Algorithm, c.V6Keys = packet.PubKeyAlgoEd25519, true })},
	{"ed448, as RFC 9580 has it", "counts", nothing, "Debian's gpg does not know it", with(func(c *packet.Config) { c.Algorithm, c.V6Keys = packet.PubKeyAlgoEd448, true })},
	{"ECDSA on NIST P-256", "counts", good, "", with(func(c *packet.Config) { c.Algorithm, c.Curve = packet.PubKeyAlgoECDSA, packet.CurveNistP256 })},

	{"a signature that has expired", "it has expired: its signer limited it in time", "EXPSIG VALIDSIG 1", "", bytesOf(func(w writer, _ *openpgp.Entity, l letter) []byte {
		l.lifetime = 86400
		return w.message(l)
	})},
	{"dated two days ahead", "it is dated 2026-06-03, over a day ahead", good, "gpg does not mind", of(0, "2026-06-03", nil)},
	{"dated an hour ahead", "counts", good, "", func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: e.PrivateKey, at: today.Add(time.Hour)})}
	}},
	{"dated before its key", "it is dated 2024-12-31, before its key was made", "ERRSIG 2", "", of(0, "2024-12-31", nil)},
	{"dated before its subkey", "it is dated 2025-03-01, before its key was made", "ERRSIG 2", "", func(w writer) ([]byte, [][]byte) {
		e := w.person("Ann", 0)
		s := w.signer(e, date("2025-04-01"), 0)
		return w.public(e), [][]byte{w.message(letter{payload: signed, by: s.PrivateKey, at: date("2025-03-01")})}
	}},
	{"dated zero", "it has no date", "ERRSIG 2", "", of(0, "1970-01-01", nil)},
}

func (c testCase) keyring(t *testing.T, w writer) (*Keyring, []byte, [][]byte) {
	t.Helper()
	data, files := c.make(w)
	keys, broken, err := ParseKeys(data)
	if err != nil || len(broken) > 0 {
		t.Fatal(err, broken)
	}
	r := &Keyring{}
	for _, k := range keys {
		person := ""
		if len(k.Names) > 0 && strings.HasPrefix(k.Names[0], "Twin") {
			person = "Twin"
		}
		if _, err := r.Add(person, k); err != nil {
			t.Fatal(err)
		}
	}
	return r, data, files
}

func TestCases(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, _, data := c.keyring(t, writer{t})
			var files []File
			for i, d := range data {
				files = append(files, File{Name: FileName(i + 1), Data: d})
			}
			tally := r.Judge(image, files, today)
			got := "counts"
			if why := tally.Findings[len(files)-1].Why; why != nil {
				got = why.Error()
			}
			if got != c.sx {
				t.Errorf("got %q, want %q", got, c.sx)
			}
			want := 1
			for i, f := range tally.Findings {
				if i < len(files)-1 && f.Why != nil {
					t.Errorf("%s does not count: %v", f.File, f.Why)
				}
			}
			if c.sx != "counts" {
				want = 0
			}
			if len(tally.People) != want+len(files)-1 {
				t.Errorf("%d people: %q", len(tally.People), tally.People)
			}
		})
	}
}
