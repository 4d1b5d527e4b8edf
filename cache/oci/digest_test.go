package oci

import (
	"encoding/json"
	"strings"
	"testing"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestDigestRoundTrip(t *testing.T) {
	d := DigestOf([]byte("x"))
	parsed, err := ParseDigest(d.String())
	if err != nil || parsed != d {
		t.Errorf("got %v, %v, want %v", parsed, err, d)
	}
	if d.String() != "sha256:"+d.Hex() || len(d.Hex()) != 64 || DigestFromSum(d.Sum()) != d {
		t.Errorf("%q and %q do not agree", d.String(), d.Hex())
	}
	if (Digest{}).String() != "" || (Digest{}).Hex() != "" || !(Digest{}).IsZero() {
		t.Error("the zero digest must have empty text")
	}
}

func TestDigestRefuses(t *testing.T) {
	good := DigestOf(nil).Hex()
	for _, s := range []string{
		"", good, "sha512:" + good, "sha256:" + good[1:], "sha256:" + good + "0", "SHA256:" + good,
		"sha256:" + strings.ToUpper(good), "sha256:" + good[:63] + "g", "sha256:" + good[:63] + "\n",
		"sha256:" + zeros,
	} {
		if d, err := ParseDigest(s); err == nil || !d.IsZero() {
			t.Errorf("parsing %q: got %v, %v, want an error and nothing else", s, d, err)
		}
	}
}

func TestDigestJSON(t *testing.T) {
	type pair struct{ A, B Digest }
	in := pair{A: DigestOf([]byte("x"))}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out pair
	if err := json.Unmarshal(data, &out); err != nil || out != in {
		t.Errorf("got %v, %v from %s, want %v", out, err, data, in)
	}
	if err := json.Unmarshal([]byte(`{"A":"sha256:12"}`), &out); err == nil {
		t.Error("a short digest must be an error")
	}
}

func FuzzDigest(f *testing.F) {
	f.Add(DigestOf(nil).String())
	f.Add("sha256:" + zeros)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err != nil && !d.IsZero() {
			t.Error("a value came with an error")
		}
		if err == nil && d.String() != s {
			t.Errorf("got %q, want %q", d, s)
		}
	})
}
