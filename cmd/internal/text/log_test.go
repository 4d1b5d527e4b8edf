package text_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// wantHarmless checks what a terminal or a CI runner would see, by rules written apart from the code under test.
func wantHarmless(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%q: not UTF-8", s)
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Zl, unicode.Zp)) {
			t.Errorf("%q: holds %U", s, r)
		}
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.Contains(line, "##vso[") {
			t.Errorf("%q: holds a CI command", line)
		}
	}
}

// writes records each Write, and fails the n-th, counted from 1.
type writes struct {
	calls []string
	fail  int
}

var errFull = errors.New("no space")

func (w *writes) Write(p []byte) (int, error) {
	w.calls = append(w.calls, string(p))
	if len(w.calls) == w.fail {
		return 0, errFull
	}
	return len(p), nil
}

func TestLogWriterAnySplit(t *testing.T) {
	const in = "a\r\n\x1b[1mé\u202e\n  ::error::x\n##vso[y]\n\nlast\xe2"
	const want = "a\n" + `\x1b[1mé\u202e` + "\n" + `  \::error::x` + "\n" + `##vso\[y]` + "\n\n" + `last\xe2` + "\n"
	for i := 0; i <= len(in); i++ {
		for j := i; j <= len(in); j++ {
			var out bytes.Buffer
			writePieces(t, text.NewLogWriter(&out), in[:i], in[i:j], in[j:])
			if out.String() != want {
				t.Fatalf("split at %d and %d: got %q, want %q", i, j, out.String(), want)
			}
		}
	}
}

func TestLogWriterWritesWholeLines(t *testing.T) {
	var w writes
	writePieces(t, text.NewLogWriter(&w), "on", "e\ntwo\nth", "ree")
	if got := strings.Join(w.calls, "|"); got != "one\n|two\n|three\n" {
		t.Errorf("calls: %q", got)
	}
}

func TestLogWriterLongLine(t *testing.T) {
	var w writes
	in := strings.Repeat("é", 100<<10) + "::error::x"
	writePieces(t, text.NewLogWriter(&w), in)
	if got := strings.ReplaceAll(strings.Join(w.calls, ""), "\n", ""); got != in {
		t.Errorf("a long line lost or escaped something: %d bytes of %d", len(got), len(in))
	}
	for _, call := range w.calls {
		if len(call) > 64<<10+1 {
			t.Errorf("held back %d bytes", len(call))
		}
		wantHarmless(t, call)
	}
}

// A command that begins exactly where a long line is broken begins a line, and is broken too.
func TestLogWriterCommandAtTheBreak(t *testing.T) {
	var out bytes.Buffer
	writePieces(t, text.NewLogWriter(&out), strings.Repeat("x", 64<<10)+"::error::y\n")
	wantHarmless(t, out.String())
	if !strings.HasSuffix(out.String(), "x\n\\::error::y\n") {
		t.Errorf("ends in %q", out.String()[64<<10-1:])
	}
}

func TestLogWriterReturnsTheError(t *testing.T) {
	l := text.NewLogWriter(&writes{fail: 2})
	if n, err := l.Write([]byte("a\nb\nc\n")); n != 0 || !errors.Is(err, errFull) {
		t.Errorf("Write = %d, %v; want 0, %v", n, err, errFull)
	}
	l = text.NewLogWriter(&writes{fail: 1})
	writeAll(t, l, "a")
	if err := l.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close = %v; want %v", err, errFull)
	}
}

func FuzzLogWriter(f *testing.F) {
	f.Add("a\n::error::\n", 3)
	f.Add("\xe2\x82\xac\r\n##[x]", 1)
	f.Fuzz(func(t *testing.T, s string, at int) {
		at = min(max(at, 0), len(s))
		var out bytes.Buffer
		writePieces(t, text.NewLogWriter(&out), s[:at], s[at:])
		wantHarmless(t, out.String())
		want := text.Lines(s)
		if want != "" && !strings.HasSuffix(s, "\n") {
			want += "\n"
		}
		if len(s) < 64<<10 && out.String() != want {
			t.Errorf("got %q, Lines says %q", out.String(), want)
		}
	})
}

func BenchmarkLogWriter(b *testing.B) {
	data := []byte(strings.Repeat("  Compiling rustc_middle v0.0.0 (/rust/compiler/rustc_middle)\n", 1000))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		l := text.NewLogWriter(new(bytes.Buffer))
		if _, err := l.Write(data); err != nil {
			b.Fatal(err)
		}
	}
}

func writePieces(t *testing.T, l *text.LogWriter, pieces ...string) {
	t.Helper()
	for _, piece := range pieces {
		writeAll(t, l, piece)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func writeAll(t *testing.T, l *text.LogWriter, s string) {
	t.Helper()
	if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}
