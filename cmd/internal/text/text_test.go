package text_test

import (
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

func TestField(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "core-rust 1.90.0 (é, 日本, ✓)", "core-rust 1.90.0 (é, 日本, ✓)"},
		{"empty", "", ""},
		{"backslash stays", `C:\x1b`, `C:\x1b`},
		{"colour", "\x1b[32mMATCH\x1b[0m", `\x1b[32mMATCH\x1b[0m`},
		{"title by OSC", "\x1b]0;t\a", `\x1b]0;t\x07`},
		{"line breaks and tab", "a\r\nb\tc", `a\r\nb\tc`},
		{"backspace, nul, del", "a\b\x00\x7f", `a\x08\x00\x7f`},
		{"C1 as UTF-8", "a\u009b31m", `a\u009b31m`},
		{"C1 as a byte", "a\x9b31m", `a\x9b31m`},
		{"cut character", "a\xe2\x82", `a\xe2\x82`},
		{"surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"replacement character itself", "\ufffd", "\ufffd"},
		{"bidi override", "txt.\u202egpj", `txt.\u202egpj`},
		{"bidi isolate", "\u2066a\u2069", `\u2066a\u2069`},
		{"bidi marks", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		{"zero width", "cor\u200be\ufeff", `cor\u200be\ufeff`},
		{"line separators", "a\u2028b\u2029", `a\u2028b\u2029`},
		{"tag characters", "a\U000e0041", `a\U000e0041`},
		{"odd blanks", "a\u00a0b\u3000c", `a\u00a0b\u3000c`},
		{"Hangul filler", "a\u3164b", `a\u3164b`},
		{"variation selector", "a\ufe0fb", `a\ufe0fb`},
		{"private use", "\ue000", `\ue000`},

		{"GitHub command", "::error file=a::b", `\::error file=a::b`},
		{"after blanks", "  ::set-output name=a::b", `  \::set-output name=a::b`},
		{"in the middle it is none", "std::vec::Vec", "std::vec::Vec"},
		{"old GitHub command", "##[error]x", `##\[error]x`},
		{"anywhere in the line", "a ##[add-mask]x", `a ##\[add-mask]x`},
		{"three marks", "###[error]x", `###\[error]x`},
		{"Azure", "x ##vso[task.setvariable variable=a]b", `x ##vso\[task.setvariable variable=a]b`},
		{"TeamCity", "##teamcity[buildStatus status='SUCCESS']", `##teamcity\[buildStatus status='SUCCESS']`},
		{"heading", "## [link]", "## [link]"},
		{"command after a vertical tab", "\v::error::x", `\x0b::error::x`},
		{"command after an odd blank", "\u00a0::error::x", `\u00a0::error::x`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text.Field(tt.in); got != tt.want {
				t.Errorf("Field(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"several", "a\nb\n", "a\nb\n"},
		{"none", "", ""},
		{"Windows line ends", "a\r\nb\r\n", "a\nb\n"},
		{"carriage return paints nothing", "MISMATCH\rMATCH", `MISMATCH\rMATCH`},
		{"carriage return at the end", "a\r", `a\r`},
		{"tab stays", "a\tb", "a\tb"},
		{"command in the second line", "a\n\t::error::x", "a\n\t\\::error::x"},
		{"command after a carriage return", "a\r::error::x", `a\r::error::x`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text.Lines(tt.in); got != tt.want {
				t.Errorf("Lines(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzField(f *testing.F) {
	for _, s := range []string{"core-rust", "\x1b[1m", "a\xff\u202e", " ::error::", "##vso[a]", "##\\[", "a\r\n::b", "\t::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		field := text.Field(s)
		wantHarmless(t, field)
		if strings.ContainsAny(field, "\n\t") {
			t.Errorf("Field(%q) = %q: more than one line, or a tab", s, field)
		}
		if again := text.Field(field); again != field {
			t.Errorf("Field(Field(%q)) = %q, want %q", s, again, field)
		}
		lines := text.Lines(s)
		wantHarmless(t, lines)
		if got, want := strings.Count(lines, "\n"), strings.Count(s, "\n"); got != want {
			t.Errorf("Lines(%q) has %d line feeds, want %d", s, got, want)
		}
		if again := text.Lines(lines); again != lines {
			t.Errorf("Lines(Lines(%q)) = %q, want %q", s, again, lines)
		}
	})
}
