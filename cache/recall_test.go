package cache

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
)

// fill gives every field a value of its own, down to the last, so that a field
// that is not packed shows.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(*n), int64(*n)).UTC()))
		return
	case reflect.TypeFor[oci.Digest](), reflect.TypeFor[Key]():
		sum := oci.DigestOf(fmt.Append(nil, *n)).Sum()
		if v.Type() == reflect.TypeFor[Key]() {
			v.Set(reflect.ValueOf(Key{sum}))
		} else {
			v.Set(reflect.ValueOf(oci.DigestFromSum(sum)))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(value, n)
			v.SetMapIndex(key, value)
		}
	default:
		panic("what is packed has a field of type " + v.Type().String())
	}
}

// TestPackedIsAll: what is recalled of records and layouts is all that they say,
// also in fields that are yet to come.
func TestPackedIsAll(t *testing.T) {
	var r Record
	var l Layout
	n := 0
	fill(reflect.ValueOf(&r).Elem(), &n)
	fill(reflect.ValueOf(&l).Elem(), &n)
	for _, r := range []Record{r, {}} {
		r.Started, r.Finished = r.Started.UTC(), r.Finished.UTC()
		sums := [][32]byte{{1}, {2}}
		u := unpackerOf(packRecord(r, sums))
		if got := u.record(); !reflect.DeepEqual(got, r) {
			t.Errorf("unpacked record\n%+v, want\n%+v", got, r)
		}
		if got := u.sums(); u.Failed || !reflect.DeepEqual(got, sums) {
			t.Errorf("unpacked sums %v, failed %v", got, u.Failed)
		}
	}
	for _, l := range []Layout{l, {}} {
		packed := packLayout(l)
		u := unpackerOf(packed)
		if got := u.layout(); u.Failed || u.Rest != "" || !reflect.DeepEqual(got, l) {
			t.Errorf("unpacked layout\n%+v, want\n%+v", got, l)
		}
		for n := range packed {
			u := unpackerOf(packed[:n])
			if u.layout(); !u.Failed {
				t.Errorf("%d bytes of %d are a layout", n, len(packed))
			}
		}
	}
}

// recalling opens a store an hour from now that remembers.
func recalling(t *testing.T, tree string) *Store {
	t.Helper()
	s, err := Open(tree, Options{KeyFile: tree + ".key", Build: "test", Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// layoutChanges make the layout of an image with the layer "layer" another, in every way.
func layoutChanges() map[string]func(out string) error {
	layer := oci.DigestOf([]byte("layer")).Hex()
	return map[string]func(out string) error{
		"nothing": func(string) error { return nil },
		"a blob's byte": func(out string) error {
			path := out + "/blobs/sha256/" + layer
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			os.Chmod(path, 0o644)
			if err := os.WriteFile(path, []byte("lawyr"), 0); err != nil {
				return err
			}
			os.Chmod(path, 0o444)
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		},
		"a blob gone": func(out string) error { return os.Remove(out + "/blobs/sha256/" + layer) },
		"index.json":  func(out string) error { return os.WriteFile(out+"/index.json", []byte("{}"), 0o644) },
		"index.json of the same size": func(out string) error {
			data, err := os.ReadFile(out + "/index.json")
			if err != nil {
				return err
			}
			return os.WriteFile(out+"/index.json", bytes.Replace(data, []byte("sha256:"), []byte("sha257:"), 1), 0o644)
		},
		"a folder gone":   func(out string) error { return os.RemoveAll(out + "/blobs") },
		"something stray": func(out string) error { return os.WriteFile(out+"/manifest.json", nil, 0o644) },
		"a link in its place": func(out string) error {
			if err := os.Rename(out, out+".old"); err != nil {
				return err
			}
			return os.Symlink("core-x.old", out)
		},
	}
}

// TestWholeIsNotBelievedForLong changes a layout that was found whole and is
// remembered in every way that makes it another.
func TestWholeIsNotBelievedForLong(t *testing.T) {
	image := buildImage("layer")
	for name, change := range layoutChanges() {
		t.Run(name, func(t *testing.T) {
			s := recalling(t, mkdir(t, t.TempDir(), "tree"))
			want := image.commit(t, s, "core-x")
			for range 2 {
				if l, err := s.Check("core-x"); err != nil || !reflect.DeepEqual(l, want) {
					t.Fatalf("whole: %+v, %v; want %+v", l, err, want)
				}
			}
			if err := s.Save(); err != nil {
				t.Fatal(err)
			}
			s = recalling(t, s.tree)
			if _, ok := s.peekLayout("core-x"); !ok {
				t.Fatal("it is not remembered")
			}
			if err := change(s.Out("core-x")); err != nil {
				t.Fatal(err)
			}
			got, gotErr := recalling(t, s.tree).Check("core-x")
			read, readErr := open(t, s.tree).Check("core-x")
			if !reflect.DeepEqual(got, read) || fmt.Sprint(gotErr) != fmt.Sprint(readErr) {
				t.Errorf("recalled %+v, %v\nread %+v, %v", got, gotErr, read, readErr)
			}
			if same := gotErr == nil && len(got.Stray) == 0; same != (name == "nothing") {
				t.Errorf("whole: %+v, %v", got, gotErr)
			}
		})
	}
}

// TestCommittedIsNotBelievedForLong: what was committed is remembered without being read
// again, and a change is noticed however soon it comes.
func TestCommittedIsNotBelievedForLong(t *testing.T) {
	image := buildImage("layer")
	for name, change := range layoutChanges() {
		t.Run(name, func(t *testing.T) {
			tree := mkdir(t, t.TempDir(), "tree")
			s := must(Open(tree, Options{KeyFile: tree + ".key", Build: "test"}))(t)
			want := image.commit(t, s, "core-x")
			if l, ok := s.peekLayout("core-x"); !ok || !reflect.DeepEqual(l, want) {
				t.Fatalf("remembered %+v, %v; want %+v", l, ok, want)
			}
			must(0, change(s.Out("core-x")))(t)
			got, gotErr := s.Check("core-x")
			read, readErr := open(t, tree).Check("core-x")
			if !reflect.DeepEqual(got, read) || fmt.Sprint(gotErr) != fmt.Sprint(readErr) {
				t.Errorf("recalled %+v, %v\nread %+v, %v", got, gotErr, read, readErr)
			}
			if same := gotErr == nil && len(got.Stray) == 0; same != (name == "nothing") {
				t.Errorf("whole: %+v, %v", got, gotErr)
			}
		})
	}
}

// TestTouchCostsNoHashing: after a run every index.json has another mtime.
func TestTouchCostsNoHashing(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	later := func() time.Time { return time.Now().Add(time.Hour) }
	now := later
	s := must(Open(tree, Options{KeyFile: tree + ".key", Build: "test", Now: func() time.Time { return now() }}))(t)
	buildImage("layer").commit(t, s, "core-x")
	if _, err := s.Check("core-x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Touch([]string{"core-x"}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for what, clock := range map[string]func() time.Time{
		"at once": func() time.Time { return time.Unix(0, 0) }, "later": later,
	} {
		now = clock
		if _, at, ok := s.knownLayout("core-x"); !ok || !at.Equal(time.Unix(1, 0)) {
			t.Errorf("%s it is forgotten, or its time is %v", what, at)
		}
	}
	if _, at, err := open(t, s.tree).CheckTime("core-x"); err != nil || !at.Equal(time.Unix(1, 0)) {
		t.Errorf("read: its time is %v, %v", at, err)
	}
}

// A record that was replaced, changed or removed is not recalled, and neither is
// what was vouched for with it.
func TestRecordIsNotBelievedForLong(t *testing.T) {
	s := recalling(t, mkdir(t, t.TempDir(), "tree"))
	l := buildImage("layer").commit(t, s, "core-x")
	r := Record{Output: "core-x", Origin: BuiltHere, Key: Key{l.Top.Sum()}, Manifests: l.Manifests, Index: l.Index, Top: l.Top}
	put := func(s *Store, r Record) {
		t.Helper()
		if err := s.PutRecord(r); err != nil {
			t.Fatal(err)
		}
	}
	put(s, r)
	if _, err := s.Record("core-x"); err != nil {
		t.Fatal(err)
	}
	s.Vouch(r, [32]byte{1})
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	s = recalling(t, s.tree)
	if got, ok := s.knownRecord(s.recordPath("core-x"), "core-x"); !ok || got.Key != r.Key || !s.Vouched([32]byte{1}) || s.Vouched([32]byte{2}) {
		t.Fatalf("recalled %+v, %v, vouched %v", got, ok, s.Vouched([32]byte{1}))
	}
	r.NoCache = true
	put(s, r)
	s = recalling(t, s.tree)
	if got, err := s.Record("core-x"); err != nil || !got.NoCache || s.Vouched([32]byte{1}) {
		t.Errorf("read %+v, %v, vouched %v", got, err, s.Vouched([32]byte{1}))
	}
	if err := os.WriteFile(s.recordPath("core-x"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recalling(t, s.tree).Record("core-x"); err == nil {
		t.Error("a record that is damaged is believed")
	}
	if err := s.Forget("core-x"); err != nil {
		t.Fatal(err)
	}
	if _, err := recalling(t, s.tree).Record("core-x"); err == nil {
		t.Error("a record that is gone is believed")
	}
}

// TestPutRecordIsRemembered: a record that was written is not read again, says what reading
// it would, and is not believed once its file is another, however soon that is.
func TestPutRecordIsRemembered(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	s := must(Open(tree, Options{KeyFile: tree + ".key", Build: "test"}))(t)
	l := buildImage("layer").commit(t, s, "core-x")
	one, two := Dep{"core-one", l.Manifests}, Dep{"core-two", l.Manifests}
	for what, deps := range map[string]Deps{"none": nil, "sorted": {one, two}, "not sorted": {two, one}, "twice": {one, one}} {
		r := Record{
			Output: "core-x", Origin: BuiltHere, Key: Key{l.Top.Sum()}, Manifests: l.Manifests, Index: l.Index, Top: l.Top,
			Deps: deps, Started: time.Now(), Finished: time.Now(),
		}
		must(0, s.PutRecord(r))(t)
		path := s.recordPath("core-x")
		if _, ok := s.knownRecord(path, "core-x"); ok != deps.sorted() {
			t.Errorf("%s: remembered is %v", what, ok)
		}
		got, read := must(s.Record("core-x"))(t), must(open(t, tree).Record("core-x"))(t)
		if !reflect.DeepEqual(got, read) {
			t.Errorf("%s: remembered %+v\nread %+v", what, got, read)
		}
		data := must(os.ReadFile(path))(t)
		write(t, path, bytes.Replace(data, []byte(`"no_cache":false`), []byte(`"no_cache": true`), 1))
		if _, err := s.Record("core-x"); err == nil {
			t.Errorf("%s: a forged record is believed", what)
		}
	}
}
