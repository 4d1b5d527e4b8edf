package signature

import (
	"bytes"
	"errors"
	"slices"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Merge returns k with everything that other, a copy of the same key, has beside it: revocations, renewals, user IDs,
// subkeys. Nothing that k has is lost, so that an old copy takes no revocation back.
func (k *Key) Merge(other *Key) (*Key, error) {
	if k.Fingerprint != other.Fingerprint {
		return nil, errors.New("these are two keys")
	}
	a, err := parseKey(k.Binary(), nil) // a copy, because keys are immutable
	if err != nil {
		return nil, err
	}
	b, err := parseKey(other.Binary(), nil)
	if err != nil {
		return nil, err
	}
	to, from := a.entity, b.entity
	to.Revocations = union(to.Revocations, from.Revocations)
	to.DirectSignatures = union(to.DirectSignatures, from.DirectSignatures)
	for name, id := range from.Identities {
		if have := to.Identities[name]; have != nil {
			have.SelfCertifications = union(have.SelfCertifications, id.SelfCertifications)
			have.Revocations = union(have.Revocations, id.Revocations)
			continue
		}
		id.Primary = to
		to.Identities[name] = id
	}
	for _, sub := range from.Subkeys {
		mergeSubkey(to, sub)
	}
	return newKey(to), nil
}

func mergeSubkey(to *openpgp.Entity, sub openpgp.Subkey) {
	for i := range to.Subkeys {
		have := &to.Subkeys[i]
		if bytes.Equal(have.PublicKey.Fingerprint, sub.PublicKey.Fingerprint) {
			have.Bindings = union(have.Bindings, sub.Bindings)
			have.Revocations = union(have.Revocations, sub.Revocations)
			return
		}
	}
	sub.Primary = to
	to.Subkeys = append(to.Subkeys, sub)
}

// union appends what a lacks, by its bytes.
func union(a, b []*packet.VerifiableSignature) []*packet.VerifiableSignature {
	seen := map[string]bool{}
	for _, s := range a {
		seen[serialized(s)] = true
	}
	for _, s := range b {
		if text := serialized(s); !seen[text] {
			seen[text] = true
			a = append(a, s)
		}
	}
	return a
}

func serialized(s *packet.VerifiableSignature) string {
	var b bytes.Buffer
	if err := s.Packet.Serialize(&b); err != nil {
		panic("signature: internal error: " + err.Error()) // it was parsed
	}
	return b.String()
}

// Equal reports that k and other say the same.
func (k *Key) Equal(other *Key) bool {
	return slices.Equal(lines(k), lines(other))
}

// lines are the packets of a key, sorted: user IDs have no order of their own.
func lines(k *Key) (out []string) {
	r := packet.NewOpaqueReader(bytes.NewReader(k.Binary()))
	for p, err := r.Next(); err == nil; p, err = r.Next() {
		out = append(out, string(p.Contents))
	}
	slices.Sort(out)
	return out
}
