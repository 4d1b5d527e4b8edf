package signature

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// certificate takes the newest revocation of e away from it, and returns its packet.
func (w writer) certificate(e *openpgp.Entity) []byte {
	w.t.Helper()
	w.must(e.Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	last := len(e.Revocations) - 1
	data := w.packets(e.Revocations[last:])
	e.Revocations = e.Revocations[:last]
	return data
}

func (w writer) packets(list []*packet.VerifiableSignature) []byte {
	w.t.Helper()
	var b bytes.Buffer
	for _, s := range list {
		w.must(s.Packet.Serialize(&b))
	}
	return b.Bytes()
}

// unreadable changes a signature over SHA-256 into one over RIPEMD-160, as old programs made them.
func unreadable(t *testing.T, data []byte) []byte {
	t.Helper()
	for _, algorithm := range []packet.PublicKeyAlgorithm{packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoRSA} {
		for _, kind := range []packet.SignatureType{packet.SigTypeKeyRevocation, packet.SigTypeSubkeyRevocation} {
			before := []byte{4, byte(kind), byte(algorithm), 8}
			if bytes.Contains(data, before) {
				return bytes.Replace(data, before, []byte{4, byte(kind), byte(algorithm), 3}, 1)
			}
		}
	}
	t.Fatal("no revocation over SHA-256")
	return nil
}

// A revocation counts wherever it stands in a file: behind a user ID, behind a subkey, behind another key, in a block of its own.
func TestRevocationAnywhere(t *testing.T) {
	w := writer{t}
	ann, bob := w.person("Ann", 0), w.person("Bob", 0)
	plain := w.public(ann)
	w.signer(ann, born, 0)
	cert := w.certificate(ann)
	armored := func(data []byte) []byte { return append(w.armored(openpgp.PublicKeyType, data), '\n') }
	for name, data := range map[string][]byte{
		"behind a user ID":      slices.Concat(plain, cert),
		"behind a subkey":       slices.Concat(w.public(ann), cert),
		"behind another key":    slices.Concat(w.public(ann, bob), cert),
		"in a block of its own": slices.Concat(armored(w.public(ann)), armored(cert)),
		"in the first block":    slices.Concat(armored(cert), armored(w.public(bob)), armored(w.public(ann))),
	} {
		keys, bad, err := ParseKeys(data)
		if err != nil || len(bad) > 0 {
			t.Fatal(name, bad, err)
		}
		for _, k := range keys {
			want := ""
			if strings.HasPrefix(k.Names[0], "Ann") {
				want = "compromised"
			}
			if _, reason := k.Ends(); reason != want {
				t.Errorf("%s: %s is revoked as %q, want %q", name, k.Names, reason, want)
			}
		}
	}
	if _, _, err := ParseKeys(cert); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
}

// A key may be revoked in a way that sx cannot check. Then it must not count as if it were not revoked.
func TestUnreadRevocation(t *testing.T) {
	w := writer{t}
	ann, bob := w.person("Ann", 0), w.person("Bob", 0)
	trusted := parseOne(t, w.public(ann))
	cert := unreadable(t, w.certificate(ann))
	sub := w.signer(ann, born, 0)
	w.must(sub.Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	withSubkey := unreadable(t, w.public(ann))
	old := slices.Concat([]byte{0x88, 19, 3, 5, byte(packet.SigTypeKeyRevocation), 0, 0, 0, 0}, ann.PrimaryKey.Fingerprint[12:], []byte{1, 2, 0, 0})
	for name, data := range map[string][]byte{
		"a key": slices.Concat(w.public(bob, ann), cert), "a subkey": append(w.public(bob), withSubkey...), "version 3": slices.Concat(w.public(bob, ann), old),
	} {
		keys, bad, err := ParseKeys(data)
		var unread *UnreadError
		if err != nil || len(keys) != 1 || len(bad) != 1 || !errors.As(bad[0], &unread) || unread.Fingerprint != trusted.Fingerprint {
			t.Errorf("%s: %d keys, %v, %v", name, len(keys), bad, err)
		}
	}
	var r Keyring
	_, err := r.Add("", trusted)
	w.must(err)
	if got, err := r.Revoke(cert); len(got) > 0 || !errors.As(err, new(*UnreadError)) {
		t.Error(got, err)
	}
	if got, err := r.Revoke(unreadable(t, w.certificate(bob))); len(got) > 0 || err != nil {
		t.Error("of a key that is not trusted:", got, err)
	}
	// Another's revocation of Ann's key says nothing, also if it cannot be read.
	if keys, bad, err := ParseKeys(slices.Concat(w.public(bob), unreadable(t, w.certificate(ann)))); len(keys) != 1 || len(bad) > 0 || err != nil {
		t.Error(len(keys), bad, err)
	}
}

// A key file may hold a subkey twice. A revocation of it counts whether it stands with the first, the last, or comes later.
func TestSubkeyTwice(t *testing.T) {
	w := writer{t}
	ann := w.person("Ann", 0)
	s := w.signer(ann, born, 0)
	sound := *s
	m := w.message(letter{payload: signed, by: s.PrivateKey, at: date("2025-03-01")})
	ann.Subkeys = append(ann.Subkeys, sound)
	doubled := parseOne(t, w.public(ann))
	w.must(ann.Subkeys[len(ann.Subkeys)-2].Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	first := parseOne(t, w.public(ann))
	merged, err := doubled.Merge(first)
	w.must(err)
	for name, k := range map[string]*Key{"with the first": first, "that comes later": merged} {
		r := Keyring{Keys: []Trusted{{Person: "Ann", Key: k}}}
		tally := r.Judge(Image{Repository: "stagex/core-musl", Digest: digest, Version: "1.2.5"}, []File{{Name: "signature-1", Data: m}}, today)
		if why := tally.Findings[0].Why; why == nil || !strings.Contains(why.Error(), "its subkey was revoked as compromised") {
			t.Errorf("a revocation %s: %v", name, why)
		}
	}
}

// A key file may hold a user ID twice. It is listed once, and what stands behind either copy counts.
func TestUserIDTwice(t *testing.T) {
	w := writer{t}
	ann := w.person("Ann", 0)
	var primary, old, id bytes.Buffer
	w.must(ann.PrimaryKey.Serialize(&primary))
	userID := func(b *bytes.Buffer) {
		for _, i := range ann.Identities {
			w.must(i.Serialize(b))
		}
	}
	userID(&old)
	days := uint32(10 * 86400)
	w.renew(ann, date("2025-02-01"), func(s *packet.Signature) { s.KeyLifetimeSecs = &days })
	userID(&id)
	once := parseOne(t, w.public(ann))
	ends, _ := once.Ends()
	if ends.IsZero() {
		t.Fatal("the renewed key never ends")
	}
	for name, data := range map[string][]byte{
		"renewed in the first": slices.Concat(primary.Bytes(), id.Bytes(), old.Bytes()),
		"renewed in the last":  slices.Concat(primary.Bytes(), old.Bytes(), id.Bytes()),
	} {
		k := parseOne(t, data)
		if got, _ := k.Ends(); !got.Equal(ends) || len(k.Names) != 1 {
			t.Errorf("%s: %q ends %v, want %v", name, k.Names, got, ends)
		}
	}
}
