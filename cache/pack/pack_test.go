package pack

import (
	"math"
	"reflect"
	"testing"
)

// values are one of each kind, as a text and what it is read back as.
func values() (packed string, read func(u *Unpacker) []any, want []any) {
	var p Packer
	p.Uint(math.MaxUint64)
	p.Int(math.MinInt64)
	p.Text("", "zwölf")
	p.List([]string{"a", ""})
	p.List(nil)
	p.Bool(true)
	p.Bool(false)
	p.Sum([32]byte{31: 7})
	read = func(u *Unpacker) []any {
		return []any{u.Uint(), u.Int(), u.Text(), u.Text(), u.List(), u.List(), u.Bool(), u.Bool(), u.Sum()}
	}
	return string(p), read, []any{uint64(math.MaxUint64), int64(math.MinInt64), "", "zwölf",
		[]string{"a", ""}, []string(nil), true, false, [32]byte{31: 7}}
}

func TestRoundTrip(t *testing.T) {
	packed, read, want := values()
	u := Unpacker{Rest: packed}
	if got := read(&u); !u.Done() || !reflect.DeepEqual(got, want) {
		t.Errorf("read %v (failed %v, rest %q), want %v", got, u.Failed, u.Rest, want)
	}
}

// TestTruncated cuts after every byte: it shows, and nothing is read beyond the end.
func TestTruncated(t *testing.T) {
	packed, read, _ := values()
	for n := range len(packed) {
		u := Unpacker{Rest: packed[:n]}
		if read(&u); u.Done() {
			t.Errorf("nothing failed after %d of %d bytes", n, len(packed))
		}
	}
}

func TestDamaged(t *testing.T) {
	for name, damaged := range map[string]struct {
		text string
		read func(u *Unpacker)
	}{
		"a number without an end":   {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", func(u *Unpacker) { u.Uint() }},
		"a text longer than all":    {"\x05four", func(u *Unpacker) { u.Text() }},
		"a list longer than all":    {"\xff\xff\xff\xff\x0fx", func(u *Unpacker) { u.List() }},
		"neither true nor false":    {"\x02", func(u *Unpacker) { u.Bool() }},
		"a value after the failure": {"\x05four", func(u *Unpacker) { u.Text(); u.Text(); u.Int() }},
	} {
		u := Unpacker{Rest: damaged.text}
		if damaged.read(&u); !u.Failed || u.Done() {
			t.Errorf("%s: read without a failure, %q left", name, u.Rest)
		}
	}
}
