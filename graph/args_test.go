package graph

import (
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// TestLiteral: a word that is not expanded is one that BuildKit expands to itself.
func TestLiteral(t *testing.T) {
	literals := 0
	for _, escape := range []rune{'\\', '`'} {
		lex := shell.NewLex(escape)
		for c := range 256 {
			for _, around := range []string{"", "a", " ", "\n", "-=:/{}"} {
				word := around + string([]byte{byte(c)}) + around
				if !literal(word) {
					continue
				}
				literals++
				if got, _, err := lex.ProcessWord(word, &argScope{}); err != nil || got != word {
					t.Errorf("%q is expanded to %q, %v", word, got, err)
				}
			}
		}
	}
	if want := 2 * 5 * (127 - 6); literals != want {
		t.Errorf("%d literals, want %d", literals, want)
	}
}
