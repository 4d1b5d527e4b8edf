package signature

import (
	"bytes"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Revoke takes revocation certificates, as gpg --generate-revocation writes them: revocations without their key. Each is
// added to the key of r that made it. It returns the keys that are revoked by them, none if data holds no such thing.
func (r *Keyring) Revoke(data []byte) (revoked []Trusted, err error) {
	blocks, err := dearmor(data)
	if err != nil || len(data) > MaxKeys {
		return nil, err
	}
	for _, block := range blocks {
		for _, s := range looseRevocations(block) {
			for i, t := range r.Keys {
				if t.Key.entity.PrimaryKey.VerifyRevocationSignature(s) != nil {
					continue
				}
				e, err := parseKey(t.Key.Binary()) // a copy, because keys are immutable
				if err != nil {
					return nil, err
				}
				e.entity.Revocations = union(e.entity.Revocations, []*packet.VerifiableSignature{packet.NewVerifiableSig(s)})
				r.Keys[i].Key = newKey(e.entity)
				revoked = append(revoked, r.Keys[i])
			}
		}
	}
	return revoked, nil
}

// looseRevocations are the revocations of a block that has nothing else in it.
func looseRevocations(block []byte) (out []*packet.Signature) {
	for r := packet.NewReader(bytes.NewReader(block)); ; {
		p, err := r.Next()
		if err != nil {
			return out
		}
		s, ok := p.(*packet.Signature)
		if !ok || s.SigType != packet.SigTypeKeyRevocation {
			return nil
		}
		out = append(out, s)
	}
}
