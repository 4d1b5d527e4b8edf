package signature

import (
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

func FuzzMessage(f *testing.F) {
	w := writer{f}
	e := w.person("Ann", 0)
	l := letter{payload: signed, by: e.PrivateKey, at: date("2025-03-01")}
	a, b, c := w.parts(l)
	for _, data := range [][]byte{a, b, c, w.message(l), w.asGPG(w.message(l)), w.armored("PGP MESSAGE", c), append(c, b...)} {
		f.Add(data)
	}
	l.compress = packet.CompressionZLIB
	f.Add(w.message(l))
	k := parseOne(f, w.public(e))
	r := &Keyring{Keys: []Trusted{{Person: "Ann", Key: k}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadMessage(data)
		if (m == nil) == (err == nil) {
			t.Fatal("a message with an error, or neither")
		}
		found := r.Judge(image, []File{{Name: "signature-1", Data: data}}, today).Findings[0]
		if found.Why == nil && string(m.Payload) != string(signed) {
			t.Fatalf("a signature that was never made counts: %q", m.Payload)
		}
	})
}

func FuzzPayload(f *testing.F) {
	for _, c := range []string{string(signed), "[]", `[{"critical":{}}]`, `{"a":1,"a":2}`, "[[[[[[[[[[[[[[[[[[[[[[[["} {
		f.Add([]byte(c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePayload(data)
		if err != nil && p != (Payload{}) {
			t.Fatal("a payload with an error")
		}
		if err == nil && (!isDigest(p.Digest) || p.Repository == "") {
			t.Fatalf("%+v", p)
		}
	})
}

func FuzzKeys(f *testing.F) {
	w := writer{f}
	e := w.person("Ann", 30)
	w.signer(e, born, 0)
	f.Add(w.public(e))
	f.Add(w.armored("PGP PUBLIC KEY BLOCK", w.public(e)))
	w.must(e.Revoke(packet.KeyRetired, "", at(born)))
	f.Add(w.public(e, w.person("Bob", 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := ParseKeys(data)
		if err != nil {
			return
		}
		for _, k := range keys {
			again, err := parseKey(k.Binary(), nil)
			if err != nil || !again.Equal(k) || len(again.self) != len(k.self) || len(again.revoc) != len(k.revoc) {
				t.Fatalf("the key %s changes when it is kept: %v", k.Fingerprint, err)
			}
		}
	})
}
