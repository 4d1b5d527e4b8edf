package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

func sample(output string, origin Origin, content string) Record {
	key, err := NewKey(content)
	if err != nil {
		panic(err)
	}
	image := oci.Manifest{Digest: oci.DigestOf([]byte(content)), Size: int64(len(content)), Platform: "linux/amd64"}
	return Record{
		Output: output, Origin: origin, Key: key, Manifests: []oci.Manifest{image},
		Deps:    Deps{{"core-dep", []oci.Manifest{image}}},
		Foreign: []string{"docker.io/library/debian@" + image.Digest.String()},
		Engine:  EngineInfo{Kind: "embedded", BuildKit: "v0.34.2", SX: "v1", Probe: image.Digest.String()},
		Network: true, From: "docker.io/stagex/" + output, Log: "logs/x",
		Started: time.Unix(1, 2).UTC(), Finished: time.Unix(3, 4).UTC(),
	}
}

func TestRecord(t *testing.T) {
	s := newStore(t)
	if _, err := s.Record("core-x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	want := sample("core-x", BuiltHere, "one")
	must(0, s.PutRecord(want))(t)
	if text := diff(want, must(open(t, s.tree).Record("core-x"))(t)); text != "" {
		t.Errorf("the record changed:\n%s", text)
	}
	must(0, s.Forget("core-x"))(t)
	must(0, s.Forget("core-x"))(t)
	if _, err := s.Record("core-x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("forgotten: %v", err)
	}
}

// A record that was written before engines had addresses is read as it was written.
func TestRecordWithoutAddress(t *testing.T) {
	body := `{"output":"core-x","origin":"built here","key":"",` +
		`"manifests":[{"digest":"` + oci.DigestOf([]byte("one")).String() + `","size":3,"platform":"linux/amd64"}],` +
		`"index":"","top":"","engine":{"kind":"tcp","buildkit":"v0.34.2"},"no_cache":true,"network":false,` +
		`"started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:01Z"}`
	s := newStore(t)
	mac := fmt.Sprintf("%x", s.key.MAC(recordPurpose, []byte(body)))
	file := must(json.Marshal(recordFile{recordVersion, mac, []byte(body)}))(t)
	must(0, os.MkdirAll(filepath.Dir(s.recordPath("core-x")), 0o700))(t)
	write(t, s.recordPath("core-x"), file)
	want := EngineInfo{Kind: "tcp", BuildKit: "v0.34.2"}
	if r := must(s.Record("core-x"))(t); r.Engine != want || !r.NoCache {
		t.Errorf("engine %+v, want %+v", r.Engine, want)
	}
}

// A record's file is what json.Marshal makes of a recordFile, and a proof is the same file.
func TestRecordFile(t *testing.T) {
	s := newStore(t)
	r := sample("core-x", BuiltHere, "<&>\u2028\"\\")
	r.From, r.Deps = "<&>\u2028\"\\\xff", append(r.Deps, Dep{"core-é<", nil})
	must(0, s.PutRecord(r))(t)
	data := must(os.ReadFile(s.recordPath("core-x")))(t)
	body := must(json.Marshal(r))(t)
	mac := fmt.Sprintf("%x", s.key.MAC(recordPurpose, body))
	if want := must(json.Marshal(recordFile{recordVersion, mac, body}))(t); string(data) != string(want) {
		t.Errorf("got %s\nwant %s", data, want)
	}
	for range 2 { // also if it is recorded again
		record, proof := must(os.Stat(s.recordPath("core-x")))(t), must(os.Stat(s.proofPath("core-x", r.Manifests[0].Digest)))(t)
		if !os.SameFile(record, proof) {
			t.Error("the proof is another file")
		}
		must(0, s.PutRecord(r))(t)
	}
	if left := must(os.ReadDir(s.Dir("tmp")))(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPutRecordRefuses(t *testing.T) {
	s := newStore(t)
	for name, change := range map[string]func(*Record){
		"output":   func(r *Record) { r.Output = "../x" },
		"origin":   func(r *Record) { r.Origin = "unknown" },
		"none":     func(r *Record) { r.Manifests = nil },
		"manifest": func(r *Record) { r.Manifests = []oci.Manifest{{}} },
	} {
		r := sample("core-x", BuiltHere, "one")
		change(&r)
		if err := s.PutRecord(r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A "built here" record is not replaced by one that says less about the same digest.
func TestProof(t *testing.T) {
	s := newStore(t)
	one, two := sample("core-x", BuiltHere, "one"), sample("core-x", BuiltHere, "two")
	must(0, s.PutRecord(one))(t)
	must(0, s.PutRecord(two))(t)
	preseeded := sample("core-x", Preseeded, "one")
	must(0, s.PutRecord(preseeded))(t)
	if r := must(s.Record("core-x"))(t); r.Origin != Preseeded {
		t.Error("the record must say how the present layout came to be")
	}
	for _, want := range []Record{one, two} {
		got, ok := s.Proof("core-x", want.Manifests[0].Digest)
		if text := diff(want, got); !ok || text != "" {
			t.Errorf("proof of %s: %v\n%s", want.Key, ok, text)
		}
	}
	if _, ok := s.Proof("core-x", oci.DigestOf([]byte("three"))); ok {
		t.Error("a proof of what never was built")
	}
	if _, ok := s.Proof("core-y", one.Manifests[0].Digest); ok {
		t.Error("a proof of another output")
	}
	must(0, s.PutRecord(two))(t)
	must(0, s.PutRecord(sample("core-x", Preseeded, "two")))(t)
	if r := must(s.Record("core-x"))(t); r.Origin != BuiltHere {
		t.Error("preseeding what was built changes nothing")
	}
}

func TestProofNeedsBuild(t *testing.T) {
	s := newStore(t)
	must(0, s.PutRecord(sample("core-x", Preseeded, "one")))(t)
	d := oci.DigestOf([]byte("one"))
	if _, ok := s.Proof("core-x", d); ok {
		t.Error("a preseeded output is proven")
	}
	// A valid record in the wrong place is not a proof either.
	path := s.proofPath("core-x", d)
	write(t, path, must(os.ReadFile(s.recordPath("core-x")))(t))
	if _, ok := s.Proof("core-x", d); ok {
		t.Error("a preseeded record became a proof")
	}
	must(0, s.PutRecord(sample("core-x", BuiltHere, "two")))(t)
	write(t, path, must(os.ReadFile(s.recordPath("core-x")))(t))
	if _, ok := s.Proof("core-x", d); ok {
		t.Error("the proof of one digest became that of another")
	}
}

// The output's own record replaces a lost proof.
func TestProofFallsBackToRecord(t *testing.T) {
	s := newStore(t)
	want := sample("core-x", BuiltHere, "one")
	must(0, s.PutRecord(want))(t)
	d := want.Manifests[0].Digest
	for name, lose := range map[string]func() error{
		"damaged": func() error { return disk.WriteFile(s.proofPath("core-x", d), []byte("{"), 0o600, "") },
		"gone":    func() error { return os.RemoveAll(s.Dir("proofs")) },
	} {
		must(0, lose())(t)
		got, ok := s.Proof("core-x", d)
		if text := diff(want, got); !ok || text != "" {
			t.Errorf("%s: %v\n%s", name, ok, text)
		}
		if _, ok := s.Proof("core-x", oci.DigestOf([]byte("two"))); ok {
			t.Errorf("%s: a proof of what never was built", name)
		}
		must(0, os.MkdirAll(s.Dir("proofs", "core-x"), 0o700))(t)
	}
	write(t, s.recordPath("core-x"), bytes.Replace(must(os.ReadFile(s.recordPath("core-x")))(t), []byte(`"network":true`), []byte(`"network":false`), 1))
	if _, ok := s.Proof("core-x", d); ok {
		t.Error("a forged record became a proof")
	}
}

func TestForgedRecord(t *testing.T) {
	s := newStore(t)
	must(0, s.PutRecord(sample("core-x", BuiltHere, "one")))(t)
	data := must(os.ReadFile(s.recordPath("core-x")))(t)
	for name, forged := range map[string][]byte{
		"another word": bytes.Replace(data, []byte(`"network":true`), []byte(`"network":false`), 1),
		"no MAC":       bytes.Replace(data, []byte(`"mac":"`), []byte(`"MAX":"`), 1),
		"short MAC":    bytes.Replace(data, data[bytes.Index(data, []byte(`"mac":"`))+7:][:2], nil, 1),
	} {
		write(t, s.recordPath("core-x"), forged)
		var forgedErr *ForgedError
		if _, err := s.Record("core-x"); !errors.As(err, &forgedErr) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// The record of another output, and of another user.
	write(t, s.recordPath("core-y"), data)
	var forged *ForgedError
	if _, err := s.Record("core-y"); !errors.As(err, &forged) {
		t.Errorf("renamed: got %v", err)
	}
	write(t, s.recordPath("core-x"), data)
	must(s.Record("core-x"))(t)
	other, err := Open(s.tree, Options{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Record("core-x"); !errors.As(err, &forged) {
		t.Errorf("another user's: got %v", err)
	}
	if _, ok := other.Proof("core-x", oci.DigestOf([]byte("one"))); ok {
		t.Error("another user's proof was believed")
	}
}

func TestTruncatedRecord(t *testing.T) {
	s := newStore(t)
	must(0, s.PutRecord(sample("core-x", BuiltHere, "one")))(t)
	data := must(os.ReadFile(s.recordPath("core-x")))(t)
	for n := range data {
		r, err := parseRecord(data[:n], s.key)
		if err == nil || r.Output != "" {
			t.Fatalf("the first %d bytes gave %+v, %v", n, r, err)
		}
	}
	write(t, s.recordPath("core-x"), data[:len(data)/2])
	var forged *ForgedError
	if _, err := s.Record("core-x"); err == nil || errors.As(err, &forged) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a record: %v", err)
	}
	write(t, s.recordPath("core-x"), bytes.Repeat([]byte(" "), recordLimit+1))
	_, err := s.Record("core-x")
	wantError(t, err, "more than")
}

// A record of another version of sx counts as no record, without a warning.
func TestRecordOfAnotherVersion(t *testing.T) {
	s := newStore(t)
	signed := func(body string) string {
		return `{"version":2,"mac":"` + fmt.Sprintf("%x", s.key.MAC(recordPurpose, []byte(body))) + `","record":` + body + `}`
	}
	whole := string(must(json.Marshal(sample("core-x", BuiltHere, "one")))(t))
	for _, text := range []string{
		`{"version":1,"mac":"","record":{}}`,
		`{"version":9,"record":{}}`,
		signed(strings.Replace(whole, `{`, `{"mood":"good",`, 1)),
		signed(strings.Replace(whole, `{"core-dep":[{`, `{"core-dep":[{"mood":"good",`, 1)),
	} {
		write(t, s.recordPath("core-x"), []byte(text))
		_, err := s.Record("core-x")
		var version *VersionError
		if !errors.As(err, &version) || !errors.Is(err, fs.ErrNotExist) || version.Path != s.recordPath("core-x") {
			t.Errorf("%s: got %v", text, err)
		}
		must(0, s.PutRecord(sample("core-x", BuiltHere, "one")))(t)
		must(s.Record("core-x"))(t)
	}
}

func FuzzRecord(f *testing.F) {
	key := disk.NewKey([32]byte{1})
	data, err := formatRecord(sample("core-x", BuiltHere, "one"), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, true)
	f.Add([]byte(`{"output":"core-x","origin":"preseeded","manifests":[{"digest":""}]}`), true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		if sign && json.Valid(data) {
			// A body with a valid MAC reaches the parser behind it.
			var compact bytes.Buffer
			json.Compact(&compact, data)
			mac := key.MAC(recordPurpose, compact.Bytes())
			data = []byte(`{"version":2,"mac":"` + fmt.Sprintf("%x", mac) + `","record":` + compact.String() + `}`)
		}
		r, err := parseRecord(data, key)
		if err != nil {
			return
		}
		if r.check() != nil || strings.ContainsAny(r.Output, "/\x00") {
			t.Errorf("a bad record came without an error: %+v", r)
		}
		if _, err := formatRecord(r, key); err != nil {
			t.Errorf("it cannot be written again: %v", err)
		}
	})
}
