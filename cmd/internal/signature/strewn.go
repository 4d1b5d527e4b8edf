package signature

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// UnreadError reports that a key was revoked in a way that sx cannot check. The key must not count.
type UnreadError struct {
	Fingerprint string // of the primary key
	Err         error  // what is not understood
}

func (e *UnreadError) Error() string {
	return fmt.Sprintf("the key %s has a revocation that sx cannot check: %v", e.Fingerprint, e.Err)
}

// Unwrap returns what is not understood.
func (e *UnreadError) Unwrap() error { return e.Err }

// strewn is the revocations in a file, wherever they stand, by the issuer that they name: a fingerprint or a key ID. The
// library reads only those behind the key that they revoke, and leaves out without a word those that it does not understand.
type strewn map[string][]revocation

type revocation struct {
	sig *packet.Signature // nil if err is not
	err error             // why it was not understood
}

// collect collects the revocations in packets.
func (s strewn) collect(packets []byte) {
	for r := packet.NewOpaqueReader(bytes.NewReader(packets)); ; {
		p, err := r.Next()
		if err != nil {
			return
		}
		if p.Tag != tagSignature {
			continue
		}
		kind, issuers := claims(p.Contents)
		if kind != packet.SigTypeKeyRevocation && kind != packet.SigTypeSubkeyRevocation && kind != packet.SigTypeCertificationRevocation {
			continue
		}
		var found revocation
		found.sig, found.err = parseAs[*packet.Signature](p)
		for _, issuer := range issuers {
			s[issuer] = append(s[issuer], found)
		}
	}
}

// of returns those that a key made.
func (s strewn) of(pub *packet.PublicKey) []revocation {
	return append(s[fingerprint(pub)], s[keyID(pub)]...)
}

// adopt gives e the revocations that it made of itself and its subkeys, and reports whether there are any. One that cannot
// be read is an *UnreadError.
func (s strewn) adopt(e *openpgp.Entity) (adopted bool, err error) {
	primary := e.PrimaryKey
	for _, r := range s.of(primary) {
		if r.err != nil {
			return false, &UnreadError{fingerprint(primary), r.err}
		}
		one := []*packet.VerifiableSignature{packet.NewVerifiableSig(r.sig)}
		if r.sig.SigType == packet.SigTypeKeyRevocation && primary.VerifyRevocationSignature(r.sig) == nil {
			e.Revocations, adopted = union(e.Revocations, one), true
		}
		for i := range e.Subkeys {
			sub := &e.Subkeys[i]
			if r.sig.SigType == packet.SigTypeSubkeyRevocation && primary.VerifySubkeyRevocationSignature(r.sig, sub.PublicKey) == nil {
				sub.Revocations, adopted = union(sub.Revocations, one), true
			}
		}
	}
	return adopted, nil
}

// The subpackets that name a signature's issuer, RFC 9580 section 5.2.3.7.
const (
	subpacketIssuer            = 16
	subpacketIssuerFingerprint = 33
)

// claims returns the type of a signature and the issuers that it names, from the body of its packet, whatever its version,
// algorithms and critical subpackets are.
func claims(body []byte) (kind packet.SignatureType, issuers []string) {
	switch {
	case len(body) >= 15 && body[0] == 3:
		return packet.SignatureType(body[2]), []string{fmt.Sprintf("%X", body[7:15])}
	case len(body) < 4 || body[0] < 4:
		return 0, nil
	}
	rest := body[4:]
	for range 2 { // hashed and not
		var area []byte
		area, rest = subpackets(rest, body[0])
		for len(area) > 0 {
			var one []byte
			one, area = nextSubpacket(area)
			switch {
			case len(one) == 9 && one[0]&0x7f == subpacketIssuer:
				issuers = append(issuers, fmt.Sprintf("%X", one[1:]))
			case len(one) > 2 && one[0]&0x7f == subpacketIssuerFingerprint:
				issuers = append(issuers, fmt.Sprintf("%X", one[2:]))
			}
		}
	}
	return packet.SignatureType(body[1]), issuers
}

// subpackets splits an area of subpackets, which a length goes before, from what follows.
func subpackets(data []byte, version byte) (area, rest []byte) {
	size := 2
	if version == 6 {
		size = 4
	}
	if len(data) < size {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint32(append(make([]byte, 4-size), data[:size]...)))
	data = data[size:]
	n = min(n, len(data))
	return data[:n], data[n:]
}

// nextSubpacket splits the first subpacket, type and body, from the others; none of them is left where lengths are wrong.
func nextSubpacket(area []byte) (one, rest []byte) {
	n, size := int(area[0]), 1
	switch {
	case n == 255 && len(area) >= 5:
		n, size = int(binary.BigEndian.Uint32(area[1:])), 5
	case n >= 192 && n < 255 && len(area) >= 2:
		n, size = (n-192)<<8+int(area[1])+192, 2
	}
	area = area[size:]
	if n > len(area) {
		return nil, nil
	}
	return area[:n], area[n:]
}
