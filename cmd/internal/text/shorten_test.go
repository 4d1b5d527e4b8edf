package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

func TestShorten(t *testing.T) {
	if s := strings.Repeat("x", 100); text.Shorten(s, 100) != s {
		t.Error("what fits is changed")
	}
	for _, s := range []string{strings.Repeat("x", 101), strings.Repeat("é", 1<<20), strings.Repeat("日本", 999) + "end"} {
		for limit := 64; limit < 100; limit++ {
			got := text.Shorten(s, limit)
			if len(got) > limit || !utf8.ValidString(got) || !strings.Contains(got, " bytes] … ") {
				t.Errorf("Shorten(%d bytes, %d) = %q, %d bytes", len(s), limit, got, len(got))
			}
		}
	}
	if got := text.Shorten("process \"/bin/sh -c "+strings.Repeat("make; ", 999)+"\" failed: exit code: 2", 200); !strings.HasPrefix(got, "process") || !strings.HasSuffix(got, "exit code: 2") {
		t.Errorf("the ends are lost: %q", got)
	}
}

// A message that quotes a server or a file has a bounded length, whatever it quotes.
func TestFieldIsBounded(t *testing.T) {
	for _, s := range []string{strings.Repeat("a", 1<<20), strings.Repeat("\x1b", 1<<20), strings.Repeat("é", 5000)} {
		got := text.Field(s)
		if len(got) > 4<<10 {
			t.Errorf("%d bytes of %d", len(got), len(s))
		}
		if text.Field(got) != got {
			t.Error("not the same again")
		}
	}
}
