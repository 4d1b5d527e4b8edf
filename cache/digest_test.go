package cache

import (
	"encoding/json"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestDigestRoundTrip(t *testing.T) {
	d := oci.DigestOf([]byte("x"))
	parsed, err := oci.ParseDigest(d.String())
	if err != nil || parsed != d {
		t.Errorf("got %v, %v, want %v", parsed, err, d)
	}
	if d.String() != "sha256:"+d.Hex() || len(d.Hex()) != 64 || oci.DigestFromSum(d.Sum()) != d {
		t.Errorf("%q and %q do not agree", d.String(), d.Hex())
	}
	if (oci.Digest{}).String() != "" || (oci.Digest{}).Hex() != "" || !(oci.Digest{}).IsZero() {
		t.Error("the zero digest must have empty text")
	}
}

func TestDigestRefuses(t *testing.T) {
	good := oci.DigestOf(nil).Hex()
	for _, s := range []string{
		"", good, "sha512:" + good, "sha256:" + good[1:], "sha256:" + good + "0", "SHA256:" + good,
		"sha256:" + strings.ToUpper(good), "sha256:" + good[:63] + "g", "sha256:" + good[:63] + "\n",
		"sha256:" + zeros,
	} {
		if d, err := oci.ParseDigest(s); err == nil || !d.IsZero() {
			t.Errorf("parsing %q: got %v, %v, want an error and nothing else", s, d, err)
		}
	}
}

func TestDigestJSON(t *testing.T) {
	type pair struct{ A, B oci.Digest }
	in := pair{A: oci.DigestOf([]byte("x"))}
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
	f.Add(oci.DigestOf(nil).String())
	f.Add("sha256:" + zeros)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := oci.ParseDigest(s)
		if err != nil && !d.IsZero() {
			t.Error("a value came with an error")
		}
		if err == nil && d.String() != s {
			t.Errorf("got %q, want %q", d, s)
		}
		k, err := ParseKey(s)
		if err != nil && !k.IsZero() || err == nil && k.String() != s {
			t.Errorf("got key %q, %v of %q", k, err, s)
		}
	})
}
