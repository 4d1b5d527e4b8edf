package imagediff

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"slices"
	"testing"
)

// The sorter returns what was added, in order, whether it fits into memory or not.
func TestSorter(t *testing.T) {
	for _, limit := range []int{64, 1000, sortBytes} {
		for _, n := range []int{0, 1, 10, 3000} {
			s := newSorter(t.TempDir())
			s.limit = limit
			var want []string
			for _, i := range rand.New(rand.NewSource(1)).Perm(n) {
				key, value := fmt.Sprintf("%05d", i), bytes.Repeat([]byte{'x'}, i%50)
				want = append(want, key+string(value))
				if err := s.add([]byte(key), value); err != nil {
					t.Fatal(err)
				}
			}
			slices.Sort(want)
			m, err := s.sorted()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				key, value, err := m.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(key)+string(value))
			}
			if !slices.Equal(got, want) {
				t.Errorf("limit %d, %d records: got %d, or in another order", limit, n, len(got))
			}
			if len(s.runs) > sortRuns {
				t.Errorf("%d runs are merged at once", len(s.runs))
			}
			s.close()
		}
	}
}

// The sort key has a path and a place, and gives both back.
func TestSortKey(t *testing.T) {
	for _, e := range []entry{{seq: 0, name: "./a/b/"}, {seq: 1 << 40, name: "a\x01"}, {seq: 7, name: "/"}} {
		path, seq := cutSortKey(e.sortKey(nil))
		if string(path) != key(e.name) || seq != e.seq {
			t.Errorf("%+v gave %q, %d", e, path, seq)
		}
	}
}

func FuzzEntry(f *testing.F) {
	e := entry{seq: 3, name: "a/b", typ: '0', mode: 0o644, pax: map[string]string{"k": "v"}}
	f.Add(e.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(3, data)
		if err != nil {
			return
		}
		again, err := decodeEntry(e.seq, e.append(nil))
		if err != nil || len(again.differences(e)) > 0 || again.seq != e.seq {
			t.Errorf("%+v became %+v: %v", e, again, err)
		}
	})
}
