package manpage

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// A page says what it was given, also what groff would take for its own language, and
// groff has nothing to complain of.
func TestPage(t *testing.T) {
	lines := []string{".so /etc/passwd", "'br", `a\\fBb \\n(xx "quoted" --flag`, "plain"}
	text := strings.ReplaceAll(strings.Join(lines, "\n"), `\\`, `\`)
	p := Page{
		Name: "sx do", Summary: `does "it"`, Date: "2026-11-30", Version: "sx 1", Usage: "sx do [flags]",
		Description: text + "\n\nnext paragraph\n\n  as   it is\n\nand on",
		Examples:    "  sx do --flag",
		Commands:    []Item{{".term", ".text"}},
		Flags:       []Group{{"Flags", []Item{{"-f, --flag X", text}}}},
		ExitCodes:   []Item{{"0", "done"}},
		SeeAlso:     []string{"sx", "sx-do-more"},
	}
	got := rendered(t, p)
	for _, want := range []string{
		"SX-DO(1)", `sx-do - does "it"`, "sx do [flags]", ".so /etc/passwd 'br", `a\fBb \n(xx "quoted" --flag plain`,
		"next paragraph", "  as   it is", "and on", ".term", ".text", "-f, --flag X", "0 done", "sx(1), sx-do-more(1)", "2026-11-30",
	} {
		if !strings.Contains(got, want) && !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
			t.Errorf("the page has no %q:\n%s", want, got)
		}
	}
	if p.FileName() != "sx-do.1" {
		t.Errorf("its file is %q", p.FileName())
	}
}

// rendered is the page as a reader sees it.
func rendered(t *testing.T, p Page) string {
	t.Helper()
	var page, out, said bytes.Buffer
	if err := p.Write(&page); err != nil {
		t.Fatal(err)
	}
	groff := exec.Command("groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-P-cbou")
	groff.Stdin, groff.Stdout, groff.Stderr = &page, &out, &said
	if err := groff.Run(); err != nil || said.Len() > 0 {
		t.Fatalf("groff: %v\n%s", err, &said)
	}
	return out.String()
}
