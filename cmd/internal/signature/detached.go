package signature

import (
	"errors"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A Signer is who made a detached signature.
type Signer struct {
	Issuer      string    // the key that the signature names; foreign, but hexadecimal
	Time        time.Time // when it says it was made
	Person      string    // whose key it names, "" if it is none of the user's
	Fingerprint string    // of that person's primary key
}

// Detached finds who made a binary detached signature over content, by the rules for
// signature files. The error says why it does not count: [ErrUnknownKey] if none of r's
// keys made it.
func (r *Keyring) Detached(sig, content []byte, now time.Time) (Signer, error) {
	m, err := readDetached(sig, content)
	if err != nil {
		return Signer{}, err
	}
	s := Signer{Issuer: m.Issuer, Time: m.Time}
	err = ErrUnknownKey
	for _, t := range r.Keys {
		if !t.Key.Owns(m.Issuer) {
			continue
		}
		s.Person, s.Fingerprint = t.Person, t.Key.Fingerprint
		if err = t.Key.verify(m, now); err == nil {
			break
		}
	}
	return s, err
}

// readDetached makes a message of content and its signature.
func readDetached(sig, content []byte) (*Message, error) {
	if len(sig) > MaxFile {
		return nil, errors.New("its signature has more than 1 MiB")
	}
	packets, err := readPackets(sig)
	if err != nil {
		return nil, err
	}
	if len(packets) != 1 || packets[0].Tag != tagSignature {
		return nil, errors.New("want one detached signature (gpg --detach-sign)")
	}
	parsed, err := parseAs[*packet.Signature](packets[0])
	if err != nil {
		return nil, err
	}
	m := &Message{Payload: content, sig: parsed, Time: parsed.CreationTime.UTC()}
	return m, m.fillIssuer()
}
