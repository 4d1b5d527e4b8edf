package imagediff_test

import (
	"strings"
	"testing"
)

// Contents as builds leave them, in which one thing differs. No cause is guessed where none is known.
func TestCauses(t *testing.T) {
	id := func(sum string) string {
		return "\x7fELF" + strings.Repeat("\x00", 300) + "\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00" + sum + strings.Repeat("\x00", 300)
	}
	for name, tt := range map[string]struct{ a, b, cause string }{
		"date":           {"built on 2024-05-06 07:08:09", "built on 2026-11-29 22:00:00", "timestamp"},
		"__DATE__":       {"x\x00May  6 2024\x0007:08:09\x00", "x\x00Nov 29 2026\x0022:00:00\x00", "timestamp"},
		"RFC 1123":       {"Mon, 06 May 2024 07:08:09 GMT", "Sun, 29 Nov 2026 22:00:00 GMT", "timestamp"},
		"epoch":          {"#define NOW 1714979289\n", "#define NOW 1795989600\n", "timestamp"},
		"gzip":           {"\x1f\x8b\x08\x00\x01\x02\x03\x64\x02\x03same", "\x1f\x8b\x08\x00\x09\x08\x07\x65\x02\x03same", "timestamp"},
		"build path":     {"/tmp/work-a/src/main.c\x00", "/home/bob/src/main.c\x00", "build path"},
		"elf build id":   {id("aaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbb"), "build id"},
		"go build id":    {"\xff Go build ID: \"abc/def/ghi\"\n \xff", "\xff Go build ID: \"xyz/uvw/rst\"\n \xff", "build id"},
		"lines":          {"alpha\nbeta\ngamma\n", "gamma\nalpha\nbeta\n", "order of a hash table or folder"},
		"words":          {"x = {alpha, beta, gamma}\n", "x = {gamma, alpha, beta}\n", "order of a hash table or folder"},
		"strings":        {"\x00\x01alpha\x00beta\x00\x02", "\x00\x01beta\x00alpha\x00\x02", "order of a hash table or folder"},
		"jobs":           {"make -j8 all\n", "make -j16 all\n", "number of jobs"},
		"cpu":            {"CFLAGS = -O2 -march=skylake\n", "CFLAGS = -O2 -march=znver3\n", "CPU features"},
		"cpu feature":    {"features: avx2 bmi2\n", "features: neon bmi2\n", "CPU features"},
		"locale":         {"LC_ALL=C.UTF-8\n", "LC_ALL=de_DE.UTF-8\n", "locale"},
		"quotes":         {"error: ‘x’ undeclared\n", "error: 'x' undeclared\n", "locale"},
		"host":           {"compiled by: root@buildhost\n", "compiled by: bob@laptop\n", "host or user name"},
		"uuid":           {"id 0b3f1c2e-1111-4222-8333-944455556666\n", "id 7a9d0e5f-aaaa-4bbb-8ccc-9dddeeeeffff\n", "random name or id"},
		"nothing known":  {"return 1;\n", "return 2;\n", ""},
		"other bytes":    {"\x00\x01\x02\x03\x04", "\x00\x09\x02\x03\x04", ""},
		"no build path":  {"/usr/lib/a\n", "/usr/lib/b\n", ""},
		"a longer end":   {"text\n", "text\nmore\n", ""},
		"empty":          {"", "x", ""},
		"small number":   {"count 0\n", "count 1\n", ""},
		"date far away":  {"2024-05-06 and x = 1\n", "2024-05-06 and x = 2\n", ""},
		"a digest":       {"sha256:10aa20bb30cc40dd", "sha256:99aa20bb30cc40de", ""},
		"same multisets": {"ab\ncd\n", "ab\nce\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := base(), base()
			a.layers[0][4], b.layers[0][4] = regular("etc/a", tt.a), regular("etc/a", tt.b)
			for _, m := range [][2]*model{{a, b}, {b, a}} {
				got := compare(t, m[0].image(t, "a"), m[1].image(t, "b"))
				if len(got) != 1 || got[0].Content == nil || got[0].Cause != tt.cause {
					t.Errorf("got %+v, want the cause %q", got, tt.cause)
				}
			}
		})
	}
}
