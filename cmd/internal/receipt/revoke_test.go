package receipt

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// revocationOf is p's revocation of a machine key.
func revocationOf(t *testing.T, keyID string, p person) []byte {
	t.Helper()
	data, err := Revoke(keyID, p.sign, today)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What a revoked machine key signed is nobody's word, for the person who revoked it.
// A revocation of somebody else, one that was changed, and one of an unknown key do nothing.
func TestRevoke(t *testing.T) {
	ann, bob, eve := newPerson(t, "Ann"), newPerson(t, "Bob"), newPerson(t, "Eve")
	ring := ringOf(t, ann, bob)
	machine, err := NewMachine(filepath.Join(t.TempDir(), "machine"), ann.sign, today)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Seal(statement(t, published, nil), machine.Sign)
	if err != nil {
		t.Fatal(err)
	}
	good := revocationOf(t, machine.ID, ann)
	changed := bytes.Replace(good, []byte(`"payload":"ey`), []byte(`"payload":"fy`), 1)
	for what, test := range map[string]struct {
		file   []byte
		counts string // the reason why the receipt counts no more, "" if it does
		why    string // why the revocation does not
	}{
		"Ann's":        {good, "Ann revoked its machine key on 2026-06-01", ""},
		"Bob's":        {revocationOf(t, machine.ID, bob), "", ""},
		"unknown":      {revocationOf(t, machine.ID, eve), "", "not one of your keys made it"},
		"changed":      {changed, "", "no revocation that this sx understands"},
		"of another":   {revocationOf(t, "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", ann), "", ""},
		"by a machine": {mustRevoke(t, machine.ID, machine.Sign), "", "a person revokes a machine's key"},
		"other signer": {bytes.Replace(revocationOf(t, machine.ID, bob), idOf(t, bob), idOf(t, ann), 1), "", "another key signed it than it says"},
	} {
		dir := t.TempDir()
		put := func(name string, data []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		put("a"+Suffix, data)
		put("b"+RevocationSuffix, test.file)
		receipts, revoked, err := Read(dir, ring, today)
		if err != nil || len(receipts) != 1 || len(revoked) != 1 {
			t.Fatal(what, receipts, revoked, err)
		}
		if got := reason(revoked[0].Why); got != test.why && (test.why == "" || !strings.Contains(got, test.why)) {
			t.Errorf("%s: the revocation does not count: %q, want %q", what, got, test.why)
		}
		revoked.Strike(receipts)
		if got := reason(receipts[0].Why); got != test.counts && (test.counts == "" || !strings.HasPrefix(got, test.counts)) {
			t.Errorf("%s: the receipt does not count: %q, want %q", what, got, test.counts)
		}
	}

	// One that was kept counts by the key that it names, and no file takes another's place.
	dir := t.TempDir()
	for _, p := range []person{bob, ann} {
		data := revocationOf(t, machine.ID, p)
		if err := KeepRevocation(dir, OpenRevocation("file", data, ring, today), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := KeepRevocation(dir, OpenRevocation("file", changed, ring, today), changed); err == nil {
		t.Error("a changed one is kept")
	}
	kept, err := LoadRevoked(dir, ring)
	if _, ann := kept.Of(machine.ID, "Ann"); err != nil || len(kept) != 2 || !ann {
		t.Errorf("%v, %v", kept, err)
	}
	if kept, err := LoadRevoked(dir, ringOf(t, bob)); err != nil || len(kept) != 1 {
		t.Errorf("without Ann's key: %v, %v", kept, err)
	}
	if _, err := Revoke("0123456789ABCDEF", ann.sign, today); err == nil {
		t.Error("an OpenPGP key is revoked")
	}
}

func mustRevoke(t *testing.T, keyID string, sign Sign) []byte {
	t.Helper()
	data, err := Revoke(keyID, sign, today)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// idOf is the JSON of the fingerprint of p's key.
func idOf(t *testing.T, p person) []byte {
	t.Helper()
	sig, err := p.sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := json.Marshal(sig.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
