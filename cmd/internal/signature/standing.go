package signature

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// tolerance is how far ahead of this machine's clock a signature may be dated.
const tolerance = 24 * time.Hour

// minimumRSA is the bits that an RSA key must have.
const minimumRSA = 2048

// verify returns nil if k, or one of its subkeys, made m, and might when m says that it was made. Else the error says why m
// does not count.
func (k *Key) verify(m *Message, now time.Time) error {
	primary := k.entity.PrimaryKey
	maker, sub := primary, (*component)(nil)
	if !matchesIssuer(primary, m.Issuer) {
		for _, c := range k.subs {
			if matchesIssuer(c.key, m.Issuer) {
				maker, sub = c.key, c
			}
		}
	}
	if err := madeBy(m, maker); err != nil {
		return err
	}
	for _, pub := range []*packet.PublicKey{primary, maker} {
		if err := strength(pub); err != nil {
			return err
		}
	}
	if err := dates(m, primary, maker, now); err != nil {
		return err
	}
	if err := k.primaryStood(m.Time, sub == nil, now); err != nil || sub == nil {
		return err
	}
	return sub.stood(m.Time, now, k.weak)
}

// madeBy verifies the signature itself.
func madeBy(m *Message, maker *packet.PublicKey) error {
	if weakHash(m.sig.Hash) {
		return fmt.Errorf("it is signed over a %v hash, which is broken", m.sig.Hash)
	}
	if unknownNotation(m.sig) {
		return errors.New("it has a critical notation, and sx knows none")
	}
	h, err := m.sig.PrepareVerify()
	if err != nil {
		return plain(err)
	}
	h.Write(m.Payload)
	if err := maker.VerifySignature(h, m.sig); err != nil {
		return errors.New("the signature is bad: the content was changed, or another key made it")
	}
	return nil
}

// strength refuses keys that can be broken today.
func strength(pub *packet.PublicKey) error {
	switch pub.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := pub.BitLength(); err != nil || bits < minimumRSA {
			return fmt.Errorf("its RSA key has %d bits: want %d at least", bits, minimumRSA)
		}
	case packet.PubKeyAlgoDSA:
		return errors.New("its key is a DSA key, an algorithm that is out of use")
	case packet.PubKeyAlgoECDSA:
		if curve, err := pub.Curve(); err != nil || curve == packet.CurveSecP256k1 {
			return errors.New("its key is on a curve that OpenPGP does not have")
		}
	}
	return nil
}

func weakHash(h crypto.Hash) bool {
	return h == crypto.SHA1 || h == crypto.MD5 || h == crypto.RIPEMD160
}

// dates holds what m says of its time against what can be known of it.
func dates(m *Message, primary, maker *packet.PublicKey, now time.Time) error {
	switch {
	case m.Time.Unix() == 0:
		return errors.New("it has no date")
	case m.Time.After(now.Add(tolerance)):
		return fmt.Errorf("it is dated %s, over a day ahead", day(m.Time))
	case m.Time.Before(primary.CreationTime), m.Time.Before(maker.CreationTime):
		return fmt.Errorf("it is dated %s, before its key was made", day(m.Time))
	case expired(m.sig, now):
		return errors.New("it has expired: its signer limited it in time")
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// primaryStood reports why the primary key vouched for nothing at a time. The newest signature of the key over itself
// decides, as in gpg, so that a renewed key stays good through the renewal; only when it had expired is asked at the time
// of signing. signs says that the primary key itself made the message.
func (k *Key) primaryStood(at time.Time, signs bool, now time.Time) error {
	if err := revoked("its key", k.revoc, at); err != nil {
		return err
	}
	self := newestAt(k.self, at, now)
	switch {
	case self == nil && k.weak:
		return errors.New("its key vouches for itself with SHA-1 only, which is broken: the owner can renew it")
	case self == nil:
		return errors.New("its key has no valid signature over itself")
	case k.entity.PrimaryKey.KeyExpired(self, at):
		return fmt.Errorf("its key had expired on %s", day(k.entity.PrimaryKey.CreationTime.Add(lifetime(self))))
	case signs && self.FlagsValid && !self.FlagSign:
		return errors.New("its key may not sign content: a subkey does that")
	}
	return nil
}

// stood is primaryStood of a subkey.
func (c *component) stood(at, now time.Time, weak bool) error {
	if err := revoked("its subkey", c.revoc, at); err != nil {
		return err
	}
	binding := newestAt(c.bindings, at, now)
	switch {
	case binding == nil && weak:
		return errors.New("its subkey is bound to its key with SHA-1 only, which is broken: the owner can renew it")
	case binding == nil:
		return errors.New("its subkey is not bound to its key by both")
	case !binding.FlagsValid || !binding.FlagSign:
		return errors.New("its subkey may not sign content")
	case c.key.KeyExpired(binding, at):
		return fmt.Errorf("its subkey had expired on %s", day(c.key.CreationTime.Add(lifetime(binding))))
	}
	return nil
}

func lifetime(s *packet.Signature) time.Duration {
	if s.KeyLifetimeSecs == nil {
		return 0
	}
	return time.Duration(*s.KeyLifetimeSecs) * time.Second
}

// newestAt returns the newest of list, which is sorted so, that is not dated ahead and had not expired itself.
func newestAt(list []*packet.Signature, at, now time.Time) *packet.Signature {
	for _, s := range list {
		if !s.CreationTime.After(now.Add(tolerance)) && !expired(s, at) {
			return s
		}
	}
	return nil
}

// expired is packet.Signature.SigExpired, which also means "not made yet", without that.
func expired(s *packet.Signature, at time.Time) bool {
	return s.SigLifetimeSecs != nil && *s.SigLifetimeSecs != 0 &&
		at.After(s.CreationTime.Add(time.Duration(*s.SigLifetimeSecs)*time.Second))
}

// revoked says what a revocation does to a signature of a time. That time is the signer's claim, so a key that may be in
// other hands loses all of them; only a key that was put out of use keeps those from before.
func revoked(what string, list []*packet.Signature, at time.Time) error {
	var late error
	for _, r := range list {
		reason := packet.NoReason
		if r.RevocationReason != nil {
			reason = *r.RevocationReason
		}
		switch reason {
		case packet.KeySuperseded, packet.KeyRetired:
			if !at.Before(r.CreationTime) {
				late = fmt.Errorf("%s was revoked on %s as superseded or retired, before it is dated", what, day(r.CreationTime))
			}
		case packet.KeyCompromised:
			return fmt.Errorf("%s was revoked as compromised: no signature of it counts, whatever its date", what)
		default:
			return fmt.Errorf("%s was revoked without a reason: no signature of it counts, whatever its date", what)
		}
	}
	return late
}
