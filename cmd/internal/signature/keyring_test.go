package signature

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

func parseOne(t testing.TB, data []byte) *Key {
	t.Helper()
	keys, bad, err := ParseKeys(data)
	if err != nil || len(bad) > 0 || len(keys) != 1 {
		t.Fatal(len(keys), bad, err)
	}
	return keys[0]
}

// An old copy of a key takes back neither a revocation nor a renewal, and a new one brings both.
func TestMerge(t *testing.T) {
	w := writer{t}
	e := w.person("Ann", 30)
	sub := w.signer(e, born, 0)
	old := parseOne(t, w.public(e))
	w.renew(e, date("2025-04-01"), func(*packet.Signature) {})
	w.must(sub.Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	w.must(e.Revoke(packet.KeyRetired, "", at(date("2025-06-01"))))
	w.must(e.AddUserId("Ann Other", "", "other@example.org", at(date("2025-05-01"))))
	w.signer(e, date("2025-05-01"), 0)
	fresh := parseOne(t, w.public(e))
	for name, pair := range map[string][2]*Key{"new over old": {old, fresh}, "old over new": {fresh, old}} {
		merged, err := pair[0].Merge(pair[1])
		if err != nil {
			t.Fatal(name, err)
		}
		if !merged.Equal(fresh) {
			t.Errorf("%s: not what the new copy says", name)
		}
		if _, reason := merged.Ends(); reason != "retired" || len(merged.Names) != 2 || len(merged.subs) != 3 {
			t.Errorf("%s: %q, %d subkeys", name, merged.Names, len(merged.subs))
		}
	}
	if _, err := old.Merge(parseOne(t, w.public(w.person("Eve", 0)))); err == nil {
		t.Error("two keys were merged")
	}
}

// What is saved is what was imported, and gpg can read it.
func TestFolder(t *testing.T) {
	w, dir := writer{t}, filepath.Join(t.TempDir(), "keys")
	if r, err := LoadKeyring(dir); err != nil || len(r.Keys) != 0 {
		t.Fatal(r, err)
	}
	var r Keyring
	ann, bob := parseOne(t, w.public(w.person("Ann", 0))), parseOne(t, w.armored(openpgp.PublicKeyType, w.public(w.rsa("Bob", 2048))))
	for person, k := range map[string]*Key{"": ann, "Bob Ünlü (of \"B\")": bob} {
		added, err := r.Add(person, k)
		w.must(err)
		w.must(Save(dir, added))
	}
	loaded, err := LoadKeyring(dir)
	w.must(err)
	for i, k := range loaded.Keys {
		if k.Person != r.Keys[i].Person || !k.Key.Equal(r.Keys[i].Key) {
			t.Errorf("%q: not what was saved (%q)", k.Person, r.Keys[i].Person)
		}
	}
	if found, ok := loaded.Find(" 0x" + strings.ToLower(ann.Fingerprint[:20]+" "+ann.Fingerprint[20:])); !ok || found.Person != ann.Fingerprint {
		t.Error("the first key is not found by its fingerprint")
	}
	w.must(Remove(dir, ann.Fingerprint))
	if loaded, err = LoadKeyring(dir); err != nil || len(loaded.Keys) != 1 {
		t.Fatal(loaded, err)
	}
	// A file under another key's name hides what it should hold.
	w.must(os.Rename(filepath.Join(dir, bob.Fingerprint+".asc"), filepath.Join(dir, ann.Fingerprint+".asc")))
	if _, err := LoadKeyring(dir); err == nil || !strings.Contains(err.Error(), "it holds the key "+bob.Fingerprint) {
		t.Error(err)
	}
}

func TestAdd(t *testing.T) {
	w := writer{t}
	var r Keyring
	ann, bob := w.person("Ann", 0), w.person("Bob", 0)
	add := func(person string, e *openpgp.Entity) string {
		t.Helper()
		got, err := r.Add(person, parseOne(t, w.public(e)))
		w.must(err)
		return got.Person
	}
	if add("Ann", ann) != "Ann" || add("", ann) != "Ann" || add("ANN", bob) != "Ann" {
		t.Error("a person has another name")
	}
	if people := r.People(); len(people) != 1 {
		t.Errorf("%q", people)
	}
	for i, pair := range [][2]string{{"Jos\u00e9", "Jose\u0301"}, {"Ann Lee", "ann  lee"}} {
		var r Keyring
		for k, name := range pair {
			_, err := r.Add(name, parseOne(t, w.public([]*openpgp.Entity{ann, bob}[k])))
			w.must(err)
		}
		if people := r.People(); len(people) != 1 {
			t.Errorf("%d: %q count as two people", i, people)
		}
	}
	for _, name := range []string{"a,b", "a\nb", " a", strings.Repeat("x", 101), "\x1b[31m", "\xff"} {
		if _, err := r.Add(name, parseOne(t, w.public(ann))); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

// A subkey that two people bound would count for both.
func TestAddSharedSubkey(t *testing.T) {
	w := writer{t}
	ann, bob := w.person("Ann", 0), w.person("Bob", 0)
	s := w.signer(ann, born, 0)
	bob.Subkeys = append(bob.Subkeys, *s)
	var r Keyring
	if _, err := r.Add("", parseOne(t, w.public(ann))); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add("", parseOne(t, w.public(bob))); err == nil || !strings.Contains(err.Error(), "would count for two") {
		t.Error(err)
	}
}

func TestParseKeys(t *testing.T) {
	w := writer{t}
	ann, bob := w.person("Ann", 0), w.person("Bob", 0)
	var secret bytes.Buffer
	w.must(ann.SerializePrivateWithoutSigning(&secret, nil))
	keys, bad, err := ParseKeys(append(secret.Bytes(), w.public(bob)...))
	if err != nil || len(keys) != 1 || len(bad) != 1 || !strings.Contains(bad[0].Error(), "is a secret key") {
		t.Error(keys, bad, err)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "a page": []byte("<html>"), "a message": w.message(letter{payload: signed, by: ann.PrivateKey, at: born}),
		"an armored message": w.armored("PGP MESSAGE", w.message(letter{payload: signed, by: ann.PrivateKey, at: born})),
		"an armored secret":  w.armored(openpgp.PrivateKeyType, secret.Bytes()), "damaged armor": []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n"),
	} {
		if keys, bad, err := ParseKeys(data); len(keys) > 0 || (err == nil && len(bad) == 0) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	// Signatures of others are dropped: a flooded key stays small.
	size := len(parseOne(t, w.public(ann)).Binary())
	for range 20 {
		for name := range ann.Identities {
			w.must(ann.SignIdentity(name, bob, at(date("2025-02-01"))))
		}
	}
	if got := len(parseOne(t, w.public(ann)).Binary()); got != size {
		t.Errorf("%d bytes with the signatures of others, %d without", got, size)
	}
}

// A revocation certificate has no key with it, and counts for the key that made it alone.
func TestRevoke(t *testing.T) {
	w := writer{t}
	ann, bob := w.person("Ann", 0), w.person("Bob", 0)
	var r Keyring
	for _, e := range []*openpgp.Entity{ann, bob} {
		_, err := r.Add("", parseOne(t, w.public(e)))
		w.must(err)
	}
	w.must(ann.Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	var cert bytes.Buffer
	w.must(ann.Revocations[0].Packet.Serialize(&cert))
	eve := w.person("Eve", 0)
	w.must(eve.Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	var strange bytes.Buffer
	w.must(eve.Revocations[0].Packet.Serialize(&strange))
	for name, data := range map[string][]byte{"another's": strange.Bytes(), "a key": w.public(bob), "nothing": nil, "text": []byte("text")} {
		if got, err := r.Revoke(data); err != nil || len(got) > 0 {
			t.Error(name, got, err)
		}
	}
	got, err := r.Revoke(w.armored(openpgp.PublicKeyType, cert.Bytes()))
	if err != nil || len(got) != 1 || !strings.HasPrefix(got[0].Key.Names[0], "Ann") {
		t.Fatal(got, err)
	}
	for _, k := range r.Keys {
		if _, reason := k.Key.Ends(); (reason == "compromised") != strings.HasPrefix(k.Key.Names[0], "Ann") {
			t.Errorf("%s: %q", k.Key.Names, reason)
		}
	}
}

// A process that read a key before another brought its revocation does not take that back.
func TestSaveMerges(t *testing.T) {
	w := writer{t}
	ann := w.person("Ann", 0)
	old := Trusted{"Ann", parseOne(t, w.public(ann))}
	w.must(ann.Revoke(packet.KeyCompromised, "", at(date("2025-05-01"))))
	dir := t.TempDir()
	w.must(Save(dir, Trusted{"Ann", parseOne(t, w.public(ann))}))
	w.must(Save(dir, old))
	ring, err := LoadKeyring(dir)
	w.must(err)
	if _, reason := ring.Keys[0].Key.Ends(); reason != "compromised" {
		t.Errorf("revoked as %q", reason)
	}
}
