package signature

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// MaxKeys is how many bytes a file of keys may have.
const MaxKeys = 16 << 20

// A Key is a primary key with its user IDs, subkeys and revocations. It is immutable.
type Key struct {
	Fingerprint string // of the primary key, upper-case hexadecimal
	Created     time.Time
	Names       []string // user IDs that the key itself signed, newest first; foreign text

	entity *openpgp.Entity
	self   []*packet.Signature   // valid ones over the primary key and its user IDs, newest first
	weak   bool                  // self-signatures were left out because they use SHA-1
	revoc  []*packet.Signature   // valid ones of the primary key
	subs   map[string]*component // by fingerprint
}

// A component is a subkey.
type component struct {
	key      *packet.PublicKey
	bindings []*packet.Signature // valid ones, newest first
	revoc    []*packet.Signature // valid ones
}

// ErrNoKey is the error of ParseKeys for data without a public key, such as a revocation certificate.
var ErrNoKey = errors.New("no OpenPGP public key in it")

// ParseKeys reads public keys, armored or binary, any number of them. Signatures of others on a key are left out: they
// decide nothing here. A revocation may stand anywhere in data, also in an armored block of its own. A key that cannot be
// used is an error in the second result, and hides no other; it is an *UnreadError for one that was revoked in a way that
// cannot be checked.
func ParseKeys(data []byte) ([]*Key, []error, error) {
	if len(data) > MaxKeys {
		return nil, nil, errors.New("more than 16 MiB of keys")
	}
	blocks, err := dearmor(data)
	if err != nil {
		return nil, nil, err
	}
	var keys []*Key
	var bad []error
	revocations := strewn{}
	for _, block := range blocks {
		revocations.collect(block)
	}
	for _, block := range blocks {
		if onlySignatures(block) { // a revocation certificate
			continue
		}
		for _, part := range splitKeys(block) {
			k, err := parseKey(part, revocations)
			if err != nil {
				bad = append(bad, err)
				continue
			}
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 && len(bad) == 0 {
		if len(revocations) > 0 {
			return nil, nil, fmt.Errorf("%w: it holds revocations, of no key that you trust", ErrNoKey)
		}
		return nil, nil, ErrNoKey
	}
	return keys, bad, nil
}

// dearmor returns data itself, or what each of its armored blocks holds.
func dearmor(data []byte) ([][]byte, error) {
	if !bytes.Contains(data, []byte("-----BEGIN PGP")) {
		return [][]byte{data}, nil
	}
	var blocks [][]byte
	for r := bufio.NewReader(bytes.NewReader(data)); ; {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			return blocks, nil
		}
		if err == nil && block.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("it holds a %.60s: want public keys (gpg --export)", block.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("its armor is damaged: %w", plain(err))
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, fmt.Errorf("its armor is damaged: %w", plain(err))
		}
		blocks = append(blocks, body)
	}
}

// onlySignatures reports that a block holds signatures and nothing else, as a revocation certificate does.
func onlySignatures(block []byte) bool {
	r := packet.NewOpaqueReader(bytes.NewReader(block))
	for n := 0; ; n++ {
		p, err := r.Next()
		if err != nil {
			return n > 0 && errors.Is(err, io.EOF)
		}
		if p.Tag != tagSignature {
			return false
		}
	}
}

// splitKeys cuts a stream of packets before each primary key, so that one that is not understood takes no other with it.
func splitKeys(data []byte) (parts [][]byte) {
	const tagSecret, tagPublic = 5, 6
	source := bytes.NewReader(data)
	r := packet.NewOpaqueReader(source)
	for start, at := 0, 0; ; {
		p, err := r.Next()
		end := len(data)
		switch {
		case err != nil && at > start:
			return append(parts, data[start:end])
		case err != nil:
			return parts
		case (p.Tag == tagPublic || p.Tag == tagSecret) && at > start:
			parts = append(parts, data[start:at])
			start = at
		}
		at = len(data) - source.Len()
	}
}

// gatherUserIDs moves the signatures behind a user ID that stands in a key again to those behind its first copy: the library
// would keep those of the last copy alone, and so forget a revocation or a renewal.
func gatherUserIDs(data []byte) []byte {
	const tagUserID = 13
	source := bytes.NewReader(data)
	r := packet.NewOpaqueReader(source)
	var pieces [][]byte       // each is a packet and the signatures behind it
	first := map[string]int{} // the piece of each user ID
	into := 0                 // the piece that signatures go to
	for at := 0; ; {
		p, err := r.Next()
		if err != nil {
			return slices.Concat(append(pieces, data[at:])...)
		}
		piece := data[at : len(data)-source.Len()]
		at += len(piece)
		if p.Tag == tagSignature && len(pieces) > 0 {
			pieces[into] = append(pieces[into], piece...)
			continue
		}
		if p.Tag == tagUserID {
			if i, again := first[string(p.Contents)]; again {
				into = i
				continue
			}
			first[string(p.Contents)] = len(pieces)
		}
		into = len(pieces)
		pieces = append(pieces, slices.Clone(piece))
	}
}

// parseKey reads one key, and takes of revocations those that it made.
func parseKey(data []byte, revocations strewn) (*Key, error) {
	e, err := openpgp.ReadEntity(packet.NewReader(bytes.NewReader(gatherUserIDs(data))))
	switch {
	case err != nil:
		return nil, fmt.Errorf("a key is not understood: %w", plain(err))
	case e.PrivateKey != nil:
		return nil, fmt.Errorf("the key %X is a secret key: want the public one (gpg --export)", e.PrimaryKey.Fingerprint)
	}
	subkeys := e.Subkeys // one may stand twice in a file
	e.Subkeys = nil
	for _, sub := range subkeys {
		mergeSubkey(e, sub)
	}
	if _, err := revocations.adopt(e); err != nil {
		return nil, err
	}
	return newKey(e), nil
}

// newKey checks every signature that e holds over itself, once.
func newKey(e *openpgp.Entity) *Key {
	k := &Key{
		Fingerprint: fmt.Sprintf("%X", e.PrimaryKey.Fingerprint), Created: e.PrimaryKey.CreationTime.UTC(),
		entity: e, subs: map[string]*component{},
	}
	primary := e.PrimaryKey
	k.self = k.valid(e.DirectSignatures, primary.VerifyDirectKeySignature)
	named := map[string]time.Time{}
	for name, id := range e.Identities {
		id.OtherCertifications = nil
		own := k.identity(id)
		if len(own) > 0 {
			named[name] = own[0].CreationTime
			k.Names = append(k.Names, name)
		}
		k.self = append(k.self, own...)
	}
	newestFirst(k.self)
	slices.SortFunc(k.Names, func(a, b string) int { return cmp.Or(named[b].Compare(named[a]), strings.Compare(a, b)) })
	k.revoc = revocations(e.Revocations, primary.VerifyRevocationSignature)
	for i := range e.Subkeys {
		sub := &e.Subkeys[i]
		c := &component{
			key:      sub.PublicKey,
			bindings: k.valid(sub.Bindings, func(s *packet.Signature) error { return primary.VerifyKeySignature(sub.PublicKey, s) }),
			revoc: revocations(sub.Revocations, func(s *packet.Signature) error {
				return primary.VerifySubkeyRevocationSignature(s, sub.PublicKey)
			}),
		}
		newestFirst(c.bindings)
		k.subs[fmt.Sprintf("%X", sub.PublicKey.Fingerprint)] = c
	}
	return k
}

// identity returns the key's own signatures over a user ID, newest first; none if it was revoked after them.
func (k *Key) identity(id *openpgp.Identity) []*packet.Signature {
	primary := k.entity.PrimaryKey
	verify := func(s *packet.Signature) error { return primary.VerifyUserIdSignature(id.Name, primary, s) }
	own := k.valid(id.SelfCertifications, verify)
	newestFirst(own)
	for _, r := range revocations(id.Revocations, verify) {
		own = slices.DeleteFunc(own, func(s *packet.Signature) bool { return !s.CreationTime.After(r.CreationTime) })
	}
	return own
}

// valid returns those signatures that verify and are as strong as a signature must be.
func (k *Key) valid(list []*packet.VerifiableSignature, verify func(*packet.Signature) error) (out []*packet.Signature) {
	for _, s := range list {
		if verify(s.Packet) != nil || unknownNotation(s.Packet) {
			continue
		}
		embedded := s.Packet.EmbeddedSignature
		if weakHash(s.Packet.Hash) || (embedded != nil && weakHash(embedded.Hash)) {
			k.weak = true
			continue
		}
		out = append(out, s.Packet)
	}
	return out
}

// revocations returns those that verify, whatever their hash: who forges one can only make a key count less.
func revocations(list []*packet.VerifiableSignature, verify func(*packet.Signature) error) (out []*packet.Signature) {
	for _, s := range list {
		if verify(s.Packet) == nil {
			out = append(out, s.Packet)
		}
	}
	return out
}

func newestFirst(list []*packet.Signature) {
	slices.SortStableFunc(list, func(a, b *packet.Signature) int { return b.CreationTime.Compare(a.CreationTime) })
}

// unknownNotation reports a notation that its signer marks as critical: sx knows none.
func unknownNotation(s *packet.Signature) bool {
	return slices.ContainsFunc(s.Notations, func(n *packet.Notation) bool { return n.IsCritical })
}

// Owns reports that one of k's keys, primary or sub, is the issuer that a message names: a fingerprint or a key ID.
func (k *Key) Owns(issuer string) bool {
	for _, pub := range k.parts() {
		if matchesIssuer(pub, issuer) {
			return true
		}
	}
	return false
}

func (k *Key) parts() []*packet.PublicKey {
	parts := []*packet.PublicKey{k.entity.PrimaryKey}
	for i := range k.entity.Subkeys {
		parts = append(parts, k.entity.Subkeys[i].PublicKey)
	}
	return parts
}

func matchesIssuer(pub *packet.PublicKey, issuer string) bool {
	return issuer == fingerprint(pub) || issuer == keyID(pub)
}

func fingerprint(pub *packet.PublicKey) string { return fmt.Sprintf("%X", pub.Fingerprint) }

func keyID(pub *packet.PublicKey) string { return fmt.Sprintf("%016X", pub.KeyId) }

// Binary returns the key as gpg --export would write it, without the signatures of others.
func (k *Key) Binary() []byte {
	var b bytes.Buffer
	if err := k.entity.Serialize(&b); err != nil {
		panic("signature: internal error: " + err.Error()) // a buffer takes everything, and the key was parsed
	}
	return b.Bytes()
}

// Ends returns when the key expires, zero for never, and the reason of a revocation, "" for none.
func (k *Key) Ends() (expires time.Time, revoked string) {
	words := map[packet.ReasonForRevocation]string{packet.KeySuperseded: "superseded", packet.KeyRetired: "retired", packet.KeyCompromised: "compromised"}
	for _, r := range k.revoc {
		word := "invalid, without a reason"
		if r.RevocationReason != nil && words[*r.RevocationReason] != "" {
			word = words[*r.RevocationReason]
		}
		if revoked == "" || (word != words[packet.KeySuperseded] && word != words[packet.KeyRetired]) {
			revoked = word
		}
	}
	if self := newestAt(k.self, time.Time{}, time.Now()); self != nil && lifetime(self) > 0 {
		expires = k.Created.Add(lifetime(self))
	}
	return expires, revoked
}
