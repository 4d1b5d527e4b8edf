package receipt

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/graph"
)

var (
	today     = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	published = oci.DigestOf([]byte("published"))
	other     = oci.DigestOf([]byte("other"))
	musl      = oci.DigestOf([]byte("musl"))
)

// person is somebody with an OpenPGP key.
type person struct {
	name   string
	entity *openpgp.Entity
}

func newPerson(t *testing.T, name string) person {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return today.AddDate(-1, 0, 0) }, Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256}
	e, err := openpgp.NewEntity(name, "", strings.ToLower(name)+"@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return person{name, e}
}

// sign makes the detached signature that gpg makes.
func (p person) sign(pae []byte) (Signature, error) {
	var b bytes.Buffer
	err := openpgp.DetachSign(&b, []*openpgp.Entity{p.entity}, bytes.NewReader(pae), &packet.Config{Time: func() time.Time { return today }, DefaultHash: crypto.SHA256})
	return Signature{KeyID: fmt.Sprintf("%X", p.entity.PrimaryKey.Fingerprint), Sig: base64.StdEncoding.EncodeToString(b.Bytes())}, err
}

// ringOf trusts the keys of people.
func ringOf(t *testing.T, people ...person) *signature.Keyring {
	t.Helper()
	ring := &signature.Keyring{}
	for _, p := range people {
		var b bytes.Buffer
		if err := p.entity.Serialize(&b); err != nil {
			t.Fatal(err)
		}
		keys, bad, err := signature.ParseKeys(b.Bytes())
		if err != nil || len(bad) > 0 {
			t.Fatal(err, bad)
		}
		if _, err := ring.Add(p.name, keys[0]); err != nil {
			t.Fatal(err)
		}
	}
	return ring
}

var want = Want{
	Output: "core-curl", Digest: published, Key: keyOf("now"), Probe: "sha256:probe",
	Deps: map[string]string{"core-musl": musl.Hex()},
}

func keyOf(text string) string {
	k, err := cache.NewKey(text)
	if err != nil {
		panic(err)
	}
	return k.String()
}

// statement is about a build of core-curl that gave d; edit changes its record.
func statement(t *testing.T, d oci.Digest, edit func(*cache.Record)) Statement {
	t.Helper()
	key, err := cache.NewKey("now")
	if err != nil {
		t.Fatal(err)
	}
	o := &graph.Output{Ref: graph.Ref{Stage: "core", Name: "curl"}, Definition: &graph.Definition{
		Sources: []graph.Source{{File: "curl.tar.xz"}},
	}}
	rec := cache.Record{
		Output: "core-curl", Origin: cache.BuiltHere, Key: key, NoCache: true,
		Manifests: []oci.Manifest{{Digest: d, Platform: "linux/amd64"}},
		Deps:      cache.Deps{{Output: "core-musl", Images: []oci.Manifest{{Digest: musl, Platform: "linux/amd64"}}}},
		Engine: cache.EngineInfo{Kind: "embedded", Name: "ourname", Address: "tcp://inside:1", BuildKit: "v0.34.2", SX: "1", Probe: want.Probe,
			Machine: cache.Machine{CPUVendor: "GenuineIntel", CPUModel: "A", Kernel: "6.12"}},
		Started: today.Add(-time.Hour), Finished: today.Add(-time.Minute),
		Log: "/home/ann/tree/.sx/logs/core-curl/1.log",
	}
	if edit != nil {
		edit(&rec)
	}
	s, err := New(o, rec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t *testing.T, s Statement, sign Sign) []byte {
	t.Helper()
	data, err := Seal(s, sign)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func machineOf(t *testing.T, p person) (*MachineKey, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sx")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := NewMachine(dir, p.sign, today.AddDate(0, -1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return k, dir
}

// What others write in-toto and DSSE with reads a receipt, and its signature verifies.
func TestOthersAccept(t *testing.T) {
	ann := newPerson(t, "Ann")
	k, _ := machineOf(t, ann)
	k.expires = time.Now().Add(time.Hour)
	var e dsse.Envelope
	if err := json.Unmarshal(sealed(t, statement(t, published, nil), k.Sign), &e); err != nil {
		t.Fatal(err)
	}
	verifier, err := dsse.NewEnvelopeVerifier(ed25519Verifier{k.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(context.Background(), &e); err != nil {
		t.Fatal(err)
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		t.Fatal(err)
	}
	var s intoto.Statement
	if err := protojson.Unmarshal(payload, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	predicate, err := protojson.Marshal(s.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	var p provenance.Provenance
	if err := protojson.Unmarshal(predicate, &p); err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := p.BuildDefinition.ResolvedDependencies[0].Name; got != "stagex/core-musl" {
		t.Errorf("its first dependency is %q", got)
	}
}

type ed25519Verifier struct{ key ed25519.PublicKey }

func (v ed25519Verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.key, data, sig) {
		return errors.New("bad")
	}
	return nil
}
func (v ed25519Verifier) KeyID() (string, error)   { return dsse.SHA256KeyID(v.key) }
func (v ed25519Verifier) Public() crypto.PublicKey { return v.key }

// A receipt names no path.
func TestNoPath(t *testing.T) {
	if data := statement(t, published, nil).Bytes(); bytes.Contains(data, []byte("/home/ann")) || bytes.Contains(data, []byte("inside")) || bytes.Contains(data, []byte("ourname")) {
		t.Errorf("%s", data)
	}
}

// What is wrong with a receipt makes it nobody's word, with the reason.
func TestRefused(t *testing.T) {
	ann, eve := newPerson(t, "Ann"), newPerson(t, "Eve")
	ring := ringOf(t, ann)
	good := sealed(t, statement(t, published, nil), ann.sign)
	k, _ := machineOf(t, ann)
	k.expires = time.Now().Add(time.Hour)
	stranger, _ := machineOf(t, eve)
	stranger.expires = k.expires
	byMachine := sealed(t, statement(t, published, nil), k.Sign)
	edited := func(data []byte, edit func(*Envelope)) []byte {
		var e Envelope
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		edit(&e)
		out, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	otherPayload := base64.StdEncoding.EncodeToString(statement(t, other, nil).Bytes())
	for name, c := range map[string]struct {
		data []byte
		why  string // "" for none
	}{
		"a person's":           {good, ""},
		"a machine's":          {byMachine, ""},
		"a stranger's":         {sealed(t, statement(t, published, nil), eve.sign), "not one of your keys made it"},
		"a stranger's machine": {sealed(t, statement(t, published, nil), stranger.Sign), "not one of your keys made it"},
		"edited":               {edited(good, func(e *Envelope) { e.Payload = otherPayload }), "the signature is bad"},
		"a machine's, edited":  {edited(byMachine, func(e *Envelope) { e.Payload = otherPayload }), "the signature is bad"},
		"a machine's, signed by another machine": {edited(byMachine, func(e *Envelope) {
			sig, _ := stranger.Sign(dsse.PAE(PayloadType, statement(t, published, nil).Bytes()))
			e.Signatures[0].Sig = sig.Sig
		}), "the signature is bad"},
		"a machine's, under another's certificate": {edited(sealed(t, statement(t, published, nil), stranger.Sign), func(e *Envelope) {
			e.Signatures[0].Certificate = &k.certificate
		}), "about another machine key"},
		"a machine's, without a certificate": {edited(byMachine, func(e *Envelope) { e.Signatures[0].Certificate = nil }), "no certificate"},
		"a certificate of a machine": {edited(byMachine, func(e *Envelope) {
			e.Signatures[0].Certificate.Signatures[0].KeyID = k.ID
		}), "not another machine's"},
		"not signed":              {edited(good, func(e *Envelope) { e.Signatures = nil }), "0 signatures"},
		"signed twice":            {edited(good, func(e *Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) }), "2 signatures"},
		"of another type":         {edited(good, func(e *Envelope) { e.PayloadType = CertificateType }), "its payload is of the type"},
		"with a key twice":        {bytes.Replace(good, []byte(`{"payloadType"`), []byte(`{"payloadType":"x","payloadType"`), 1), "not written as sx writes"},
		"of the future":           {sealed(t, statement(t, published, func(r *cache.Record) { r.Finished = today.AddDate(0, 0, 3) }), ann.sign), "over a day ahead"},
		"older than its key":      {sealed(t, statement(t, published, func(r *cache.Record) { r.Finished = today.AddDate(0, -3, 0) }), k.Sign), "before its machine key was made"},
		"empty":                   {nil, "no DSSE envelope"},
		"too long":                {bytes.Repeat([]byte(" "), MaxFile+1), "more than 1 MiB"},
		"a statement, not signed": {statement(t, published, nil).Bytes(), "no DSSE envelope"},
	} {
		r := Open("x", c.data, ring, today)
		switch {
		case c.why == "" && (r.Why != nil || r.Person != "Ann"):
			t.Errorf("%s: %v, person %q", name, r.Why, r.Person)
		case c.why != "" && (r.Why == nil || !strings.Contains(r.Why.Error(), c.why)):
			t.Errorf("%s: %v, want %q", name, r.Why, c.why)
		}
	}
}

// A certificate that its owner revoked, or whose key nobody trusts, ends its machine's word.
func TestMachineKey(t *testing.T) {
	ann := newPerson(t, "Ann")
	k, dir := machineOf(t, ann)
	if again, err := LoadMachine(dir); err != nil || again.ID != k.ID {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := NewMachine(dir, ann.sign, today); !errors.As(err, new(*ExistsError)) {
		t.Errorf("a second key: %v", err)
	}
	k.expires = time.Now().Add(-time.Hour)
	if _, err := Seal(statement(t, published, nil), k.Sign); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("an expired key signs: %v", err)
	}
	if err := os.Chmod(filepath.Join(dir, machineSecret), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMachine(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if _, err := LoadMachine(t.TempDir()); !errors.Is(err, ErrNoMachineKey) {
		t.Errorf("no key: %v", err)
	}
}

// How receipts add up.
func TestMerge(t *testing.T) {
	ann, bob := newPerson(t, "Ann"), newPerson(t, "Bob")
	ring := ringOf(t, ann, bob)
	k, _ := machineOf(t, ann)
	k.expires = time.Now().Add(time.Hour)
	open := func(name string, s Statement, sign Sign) Receipt { return Open(name, sealed(t, s, sign), ring, today) }
	build := func(d oci.Digest, edit func(*cache.Record)) Statement { return statement(t, d, edit) }
	later := func(r *cache.Record) { r.Finished = r.Finished.Add(time.Second) }
	amd := func(r *cache.Record) { r.Engine.Machine.CPUVendor = "AuthenticAMD" }
	key := func(text string) func(*cache.Record) {
		return func(r *cache.Record) { r.Key, _ = cache.NewKey(text) }
	}
	good := open("ann.1", build(published, nil), ann.sign)
	for name, c := range map[string]struct {
		receipts []Receipt
		state    string
		people   int
		machines int
		vendors  int
		ignored  string
	}{
		"none":            {nil, Missing, 0, 0, 0, ""},
		"one":             {[]Receipt{good}, Confirmed, 1, 1, 1, ""},
		"two people":      {[]Receipt{good, open("bob", build(published, amd), bob.sign)}, Confirmed, 2, 2, 2, ""},
		"one twice":       {[]Receipt{good, open("ann.2", build(published, later), ann.sign)}, Confirmed, 1, 1, 1, ""},
		"and her machine": {[]Receipt{good, open("machine", build(published, later), k.Sign)}, Confirmed, 1, 2, 1, ""},
		"a copy":          {[]Receipt{good, open("copy", build(published, nil), ann.sign)}, Confirmed, 1, 1, 1, "it says what ann.1 says"},
		"failed":          {[]Receipt{open("x", build(other, nil), ann.sign)}, Failed, 0, 0, 0, ""},
		"conflict":        {[]Receipt{good, open("x", build(other, nil), bob.sign)}, Conflict, 1, 1, 1, ""},
		"replayed": {[]Receipt{open("x", build(published, func(r *cache.Record) {
			key("then")(r)
			r.Deps[0].Images[0].Digest = other
		}), ann.sign)}, Missing, 0, 0, 0, "another image of core-musl"},
		"of another definition": {[]Receipt{open("x", build(published, key("then")), ann.sign)}, Missing, 0, 0, 0, "other definitions or sources"},
		"of another dependency": {[]Receipt{open("x", build(published, func(r *cache.Record) {
			key("then")(r)
			r.Deps[0].Output = "core-zlib"
		}), ann.sign)}, Missing, 0, 0, 0, `no dependency in this tree`},
		"with a cache":      {[]Receipt{open("x", build(published, func(r *cache.Record) { r.NoCache = false }), ann.sign)}, Missing, 0, 0, 0, "may have used a cache"},
		"on another engine": {[]Receipt{open("x", build(published, func(r *cache.Record) { r.Engine.Probe = "y" }), ann.sign)}, Missing, 0, 0, 0, "does not produce StageX's bytes"},
		"a stranger's":      {[]Receipt{open("x", build(other, nil), newPerson(t, "Eve").sign), good}, Confirmed, 1, 1, 1, "not one of your keys"},
	} {
		sum := Merge([]Want{want}, c.receipts)
		got := sum.Outputs[0]
		if got.State != c.state || len(got.People) != c.people || got.Machines != c.machines || len(got.Vendors) != c.vendors {
			t.Errorf("%s: %+v", name, got)
		}
		if c.ignored == "" && len(sum.Ignored) > 0 || c.ignored != "" && (len(sum.Ignored) != 1 || !strings.Contains(sum.Ignored[0].Why, c.ignored)) {
			t.Errorf("%s: ignored %+v, want %q", name, sum.Ignored, c.ignored)
		}
	}
	both := Merge([]Want{want, {Output: "core-zlib"}}, []Receipt{good})
	if both.People != 0 || both.Count(Missing) != 1 {
		t.Errorf("the weakest output counts: %+v", both)
	}
}

// Names of people and files cannot be Markdown.
func TestMarkdown(t *testing.T) {
	s := Sum{Outputs: []Coverage{{Output: "core-curl", State: Confirmed, People: []string{"A|<b>"}}}, Ignored: []Ignored{{Name: "[x](y)", Why: "*"}}}
	var b bytes.Buffer
	s.Markdown(&b)
	for _, bad := range []string{"A|", "<b>", "[x](", ": *\n"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("it has %q: %s", bad, b.String())
		}
	}
}
