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
		"epoch of one":   {"date=1\n", "date=1714979289\n", "timestamp"},
		"more of it":     {"built 2024-05-06 by\n" + strings.Repeat("x", 300) + "\n1\n", "built 2026-11-29 by\n" + strings.Repeat("x", 300) + "\n2\n", "timestamp"},
		"little of it":   {"at 2024-05-06\n" + strings.Repeat(strings.Repeat("x", 300)+"\n1\n", 5), "at 2026-11-29\n" + strings.Repeat(strings.Repeat("x", 300)+"\n2\n", 5), ""},
		"build id only":  {id("aaaaaaaaaaaaaaaaaaaa") + strings.Repeat("\x01", 99), id("bbbbbbbbbbbbbbbbbbbb") + strings.Repeat("\x02", 99), ""},
		"named charset":  {"encoding C.UTF-8\n", "encoding de_DE.UTF-8\n", "locale"},
		"host only":      {"hostname: buildkit\n", "hostname: ab12cd\n", "host or user name"},
		"nothing known":  {"return 1;\n", "return 2;\n", ""},
		"other bytes":    {"\x00\x01\x02\x03\x04", "\x00\x09\x02\x03\x04", ""},
		"no build path":  {"/usr/lib/a\n", "/usr/lib/b\n", ""},
		"a longer end":   {"text\n", "text\nmore\n", ""},
		"empty":          {"", "x", ""},
		"small number":   {"count 0\n", "count 1\n", ""},
		"date far away":  {"2024-05-06 and x = 1\n", "2024-05-06 and x = 2\n", ""},
		"a digest":       {"sha256:10aa20bb30cc40dd", "sha256:99aa20bb30cc40de", ""},
		"a number":       {"size 1234567890\n", "size 5\n", ""},
		"line numbers":   {"main.c:10:15: x\n", "main.c:10:16: x\n", ""},
		"MAC address":    {"00:11:22:33:44:55\n", "00:11:22:33:44:56\n", ""},
		"a ratio":        {"10:20\n", "10:21\n", ""},
		"month in words": {"Decimal 12\n", "Decimal 13\n", ""},
		"a marker":       {"Marker 5\n", "Marker 6\n", ""},
		"a colour":       {"neon green\n", "teal green\n", ""},
		"a job's number": {"job 12 failed\n", "job 13 failed\n", ""},
		"a thread":       {"thread 4\n", "thread 5\n", ""},
		"an identifier":  {"to_BE\n", "to_be\n", ""},
		"a standard":     {"POSIX\n", "GNU\n", ""},
		"after a locale": {"LANG=C x=1\n", "LANG=C x=2\n", ""},
		"an address":     {"ask alice@example.org\n", "ask bob@example.org\n", ""},
		"npm":            {"lodash@4.17.20\n", "lodash@4.17.21\n", ""},
		"built by":       {"built by gcc 12\n", "built by gcc 13\n", ""},
		"built on":       {"built on Debian 12\n", "built on Debian 13\n", ""},
		"a user":         {"user: 1000\n", "user: 1001\n", ""},
		"one build path": {"/tmp/a.sock\n", "/run/a.sock\n", ""},
		"an expression":  {"return a - b;\n", "return b - a;\n", ""},
		"swapped bytes":  {"\x00A\x00B\x00", "\x00B\x00A\x00", ""},
		"a version":      {"1.2.3\n", "1.2.4\n", ""},
		"a quote":        {"say ‘x’\n", "say nothing\n", ""},
		"a constant":     {"#define N 8\n", "#define N 16\n", ""},
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
