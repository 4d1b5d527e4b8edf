package unused

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const definition = `FROM scratch AS build
ARG VERSION
COPY --from=stagex/core-busybox . /
copy --chmod=0755 --from=stagex/core-musl \
	/usr/lib \
	/usr/lib
# COPY --from=stagex/core-gone . /
ADD fetch/x-${VERSION}.tar.xz .
RUN --network=none <<-EOF
	COPY --from=stagex/core-heredoc . /
EOF
COPY --from=build /a /b
FROM stagex/core-filesystem AS package
COPY --from=stagex/core-last /x /x`

func TestLines(t *testing.T) {
	lines, err := Lines([]byte(definition))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"3 core-busybox", "4 core-musl", "14 core-last"}
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprint(l.Line, " ", l.From))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	without := string(Without([]byte(definition), lines[1:]))
	wanted := strings.ReplaceAll(definition, "copy --chmod=0755 --from=stagex/core-musl \\\n\t/usr/lib \\\n\t/usr/lib\n", "#\n#\n#\n")
	wanted = strings.TrimSuffix(wanted, "COPY --from=stagex/core-last /x /x") + "#"
	if diff := cmp.Diff(wanted, without); diff != "" {
		t.Error(diff)
	}
	if again, err := Lines([]byte(without)); err != nil || len(again) != 1 {
		t.Errorf("%v, %v", again, err)
	}
}

// searched runs a search in which same says which lines can be left out together.
func searched(t *testing.T, n int, same func(gone func(int) bool) bool) (found []Found, builds int) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	found, err := Search(t.Context(), make([]Line, n), 2, func(_ context.Context, without []int) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		builds++
		key := fmt.Sprint(without)
		if seen[key] {
			t.Errorf("%s was built twice", key)
		}
		seen[key] = true
		if same(func(i int) bool { return slices.Contains(without, i) }) {
			return "", nil
		}
		return "it differs", nil
	}, func(Found) {})
	if err != nil {
		t.Fatal(err)
	}
	return found, builds
}

func states(found []Found) string {
	var b strings.Builder
	for _, f := range found {
		switch {
		case f.Unused:
			b.WriteByte('-')
		case f.Alone:
			b.WriteByte('?')
		default:
			b.WriteByte('+')
		}
	}
	return b.String()
}

func TestSearch(t *testing.T) {
	for name, c := range map[string]struct {
		lines int
		same  func(gone func(int) bool) bool
		want  string
	}{
		"none":                      {0, func(func(int) bool) bool { return true }, ""},
		"all needed":                {3, func(gone func(int) bool) bool { return !gone(0) && !gone(1) && !gone(2) }, "+++"},
		"one unused":                {2, func(gone func(int) bool) bool { return !gone(0) }, "+-"},
		"all unused":                {3, func(func(int) bool) bool { return true }, "---"},
		"one of two must stay":      {2, func(gone func(int) bool) bool { return !gone(0) || !gone(1) }, "-?"},
		"needed only for another":   {3, func(gone func(int) bool) bool { return !gone(2) && (!gone(0) || gone(1)) }, "--+"},
		"with another, for a third": {3, func(gone func(int) bool) bool { return !gone(0) || !gone(1) || gone(2) }, "---"},
		"a chain, from the last":    {3, func(gone func(int) bool) bool { return (!gone(0) || gone(1)) && (!gone(1) || gone(2)) }, "---"},
	} {
		t.Run(name, func(t *testing.T) {
			found, builds := searched(t, c.lines, c.same)
			if states(found) != c.want {
				t.Errorf("%s, want %s", states(found), c.want)
			}
			if most := c.lines*(c.lines+1) + 1; builds > most {
				t.Errorf("%d builds, want at most %d", builds, most)
			}
			unused := func(i int) bool { return found[i].Unused }
			if !c.same(unused) {
				t.Error("without these lines it differs")
			}
			for n := range found {
				if !unused(n) && c.same(func(i int) bool { return unused(i) || i == n }) {
					t.Errorf("line %d can go too", n)
				}
				if !unused(n) && found[n].Why == "" {
					t.Errorf("line %d stays without a reason", n)
				}
			}
		})
	}
}

func TestSearchStops(t *testing.T) {
	broken := errors.New("no engine")
	_, err := Search(t.Context(), make([]Line, 5), 2, func(context.Context, []int) (string, error) { return "", broken }, func(Found) {})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	tries := 0
	_, err = Search(ctx, make([]Line, 5), 1, func(context.Context, []int) (string, error) { tries++; return "", nil }, func(Found) {})
	if !errors.Is(err, broken) || tries > 0 {
		t.Errorf("got %v after %d tries", err, tries)
	}
}
