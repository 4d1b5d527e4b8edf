package cache

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

// What a key is the hash of is kept once and read back; what is not it, is not.
func TestInputs(t *testing.T) {
	s := newStore(t)
	type inputs struct{ A, B string }
	want := inputs{"one <&>", "two"}
	key := must(s.PutInputs(want))(t)
	if plain := must(NewKey(want))(t); key != plain {
		t.Errorf("the key is %s, want %s", key, plain)
	}
	before := must(os.Stat(s.inputsPath(key)))(t)
	must(s.PutInputs(want))(t)
	if after := must(os.Stat(s.inputsPath(key)))(t); !os.SameFile(before, after) {
		t.Error("equal inputs were written twice")
	}
	var got inputs
	if err := s.Inputs(key, &got); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for how, damage := range map[string]func() error{
		"cut":     func() error { return os.Truncate(s.inputsPath(key), 3) },
		"changed": func() error { return os.WriteFile(s.inputsPath(key), []byte(`{"A":"one","B":"x"}`), 0o600) },
		"removed": func() error { return os.Remove(s.inputsPath(key)) },
	} {
		must(0, damage())(t)
		if err := s.Inputs(key, &got); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", how, err)
		}
		must(s.PutInputs(want))(t)
		if err := s.Inputs(key, &got); err != nil {
			t.Errorf("%s, and put again: %v", how, err)
		}
	}
}
